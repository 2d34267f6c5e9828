"""When a request is retried whose instance has died: never if it may have been served.

An instance may have processed whatever it received, even if it died before it answered. Such a
request is retried only where it is idempotent: by its method (RFC 9110, section 9.2.2), or because
the catalogue marks the composite so. A request that was certainly not received, because no
connection was made, is always retried.
"""

from __future__ import annotations

import aiohttp

from streams.records.catalog import Composite

__all__ = [
    "IDEMPOTENT_METHODS",
    "IDLE_TIMEOUT_S",
    "MAYBE_SERVED",
    "is_idempotent",
    "is_unserved",
]

IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
MAYBE_SERVED = "ended while it served: the request may or may not have been processed"
# Shorter than the keep-alive time of most servers, so that none closes a connection as we use it.
IDLE_TIMEOUT_S = 1.5


def is_idempotent(method: str, composite: Composite) -> bool:
    """Whether a request may be served twice."""
    return composite.idempotent or method in IDEMPOTENT_METHODS


def is_unserved(error: Exception) -> bool:
    """Whether a request that failed with this error was certainly not received."""
    return isinstance(error, aiohttp.ClientConnectorError)
