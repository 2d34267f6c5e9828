"""How many connections a listener has open, and for how long one may be silent."""

from __future__ import annotations

import asyncio
import resource
from typing import cast

__all__ = ["FIRST_S", "RefusedConnection", "most_connections"]

FIRST_S = 20.0  # until the head of a connection's first request is there
_MOST = 10_000  # wherever a process may open files without end


def most_connections() -> int:
    """The most at once: with half of its files the process reaches Kafka and instances."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(_MOST, max(1, soft // 2))


class RefusedConnection(asyncio.Protocol):
    """A connection that is one too many: it ends at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        cast("asyncio.Transport", transport).abort()
