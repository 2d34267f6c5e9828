"""When a request is sent again whose instance has died: never one that may have been served.

What an instance has received it may have done, even when it died before it answered. Such a
request is sent again only where doing it twice is as good as once: by its method (RFC 9110,
section 9.2.2), or because the catalogue says so of the composite. What was surely not received,
since there was no connection, is always sent again.
"""

from __future__ import annotations

import aiohttp

from streams.records.catalog import Composite

__all__ = [
    "IDEMPOTENT_HEADER",
    "IDEMPOTENT_METHODS",
    "IDLE_TIMEOUT_S",
    "MAYBE_SERVED",
    "is_idempotent",
    "is_unserved",
]

IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
IDEMPOTENT_HEADER = "x-foremesh-idempotent"  # tells Envoy and the activator what the catalogue says
MAYBE_SERVED = "ended while it served: whether the request was done is not known"
# Shorter than what servers usually keep an idle connection for, so that none closes under us.
IDLE_TIMEOUT_S = 1.5


def is_idempotent(method: str, composite: Composite) -> bool:
    """Whether a request may be served twice."""
    return composite.idempotent or method in IDEMPOTENT_METHODS


def is_unserved(error: aiohttp.ClientConnectionError) -> bool:
    """Whether a request that failed so was surely not received by anybody."""
    return isinstance(error, aiohttp.ClientConnectorError)
