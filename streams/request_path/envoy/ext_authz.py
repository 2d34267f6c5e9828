"""Envoy's external authorization check (`ext_authz` over HTTP): names the instance that serves.

Every request waits for its check, and only Envoy makes them: so their few bytes are parsed here,
without a web framework.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import quote

from streams.records.catalog import Catalog
from streams.request_path.core.claims import InstanceClaims
from streams.request_path.core.headers import DESTINATION_HEADER, readable
from streams.request_path.envoy.clusters import is_exclusive
from streams.request_path.envoy.leases import LeaseTable, lease_key
from streams.request_path.envoy.listeners import COMPOSITE_CHECK, CONSTITUENT_CHECK
from streams.request_path.envoy.routes import sole_constituent
from streams.runtime.clock import wall_ms
from streams.runtime.open_connections import FIRST_S, RefusedConnection, most_connections

__all__ = ["CheckListener", "ExtAuthzChecks"]

_MAX_BYTES = 1024 * 1024  # of a check, far above what Envoy lets a user send
_SILENT_S = 120.0  # without a check: Envoy itself ends its connection after half as long
_STANDARD = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"  # to the standard path
_CLAIMED = f"HTTP/1.1 200 OK\r\n{DESTINATION_HEADER}: %s\r\ncontent-length: 0\r\n\r\n"
_REQUEST_ID = b"\r\nx-request-id: "  # as Envoy writes it
_END_OF_HEAD = b"\r\n\r\n"
_CHECKS = (f"{COMPOSITE_CHECK}/".encode(), f"{CONSTITUENT_CHECK}/".encode())

Answer = Callable[[bytes], bytes]


class ExtAuthzChecks:
    """Claims an exclusive instance for a request if one is free.

    Parameters
    ----------
    claims, leases
        Where instances are claimed, and where leases are added.
    deadline_ms
        Most that a request may take.
    """

    def __init__(self, claims: InstanceClaims, leases: LeaseTable, deadline_ms: int) -> None:
        self._claims, self._leases, self._deadline_ms = claims, leases, deadline_ms
        self._constituents: Mapping[bytes, str] = {}  # check and path segment -> constituent

    def set_catalog(self, catalog: Catalog) -> None:
        """Derive which paths are for exclusive instances."""
        composites = {c.service: sole_constituent(c, catalog) for c in catalog.composites.values()}
        parts: dict[str, dict[str, str | None]] = {
            COMPOSITE_CHECK: composites,
            CONSTITUENT_CHECK: {name: name for name in catalog.constituents},
        }
        self._constituents = {
            f"{check}/{quote(name, safe='')}".encode(): part
            for check, names in parts.items()
            for name, part in names.items()
            if part and is_exclusive(catalog.constituents[part])
        }

    def answer(self, head: bytes) -> bytes:
        """The answer to a check, from its request line and headers."""
        constituent = self._constituents.get(_first_segments(_target(head)))
        if constituent is None:
            return _STANDARD
        _, _, rest = head.partition(_REQUEST_ID)
        key = lease_key(readable(rest.partition(b"\r\n")[0]), constituent)
        claimed = None if self._leases.has_ended(key) else self._claims.claim(constituent)
        if claimed is None:
            return _STANDARD
        self._leases.add(key, claimed, wall_ms() + self._deadline_ms)
        where = claimed.instance.endpoint.removeprefix("http://").rstrip("/")
        return (_CLAIMED % where).encode()


class CheckListener:
    """Accepts connections: Envoy's, which makes checks as long as it lives, or another client's.

    Parameters
    ----------
    answer
        Answers a check.
    other
        Makes the protocol of connections that do not begin with a check.
    """

    def __init__(self, answer: Answer, other: Callable[[], asyncio.Protocol]) -> None:
        self.answer, self.other = answer, other
        self.open = set[asyncio.Transport]()  # without those of other clients
        self._most = most_connections()

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return RefusedConnection() if len(self.open) >= self._most else _CheckConnection(self)


class _CheckConnection(asyncio.Protocol):
    """A connection of Envoy, unless another client's: checks without a body, one after the other.

    It ends when for a while no whole check has come.
    """

    def __init__(self, listener: CheckListener) -> None:
        self._listener, self._answer = listener, listener.answer
        self._left = b""
        self._is_check = False  # as far as is known
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first line."""
        self._transport = cast("asyncio.Transport", transport)
        self._listener.open.add(self._transport)
        self._heard_s = self._loop.time()
        self._timer = self._loop.call_later(FIRST_S, self._look)

    def connection_lost(self, error: Exception | None) -> None:
        """Count it no longer."""
        del error
        self._forget()

    def data_received(self, data: bytes) -> None:
        """Answer whole checks; hand another client's connection to its protocol."""
        self._left += data
        if not self._is_check and b"\r\n" in self._left:
            self._is_check = _target(self._left).startswith(_CHECKS)
            if not self._is_check:
                self._hand_over()
                return
        *heads, self._left = self._left.split(_END_OF_HEAD)
        for head in heads:
            self._transport.write(self._answer(head))
        if heads:
            self._heard_s = self._loop.time()
        if len(self._left) > _MAX_BYTES:
            self._transport.abort()

    def _hand_over(self) -> None:
        self._forget()
        protocol = self._listener.other()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._left)

    def _look(self) -> None:
        """End a silent connection; look again when this one may be."""
        patience_s = _SILENT_S if self._is_check else FIRST_S
        left_s = self._heard_s + patience_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._transport.abort()

    def _forget(self) -> None:
        self._timer.cancel()
        self._listener.open.discard(self._transport)


def _target(head: bytes) -> bytes:
    """The target in a request line; empty if there is none."""
    _, _, rest = head.partition(b" ")
    return rest.partition(b" ")[0]


def _first_segments(target: bytes) -> bytes:
    """The first two segments of a target's path."""
    return b"/".join(target.partition(b"?")[0].split(b"/", 3)[:3])
