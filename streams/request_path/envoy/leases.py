"""Who has which exclusive instance, and when it is free again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.request_path.envoy.routes import CONSTITUENT_HEADER

__all__ = ["LeaseTable"]

logger = logging.getLogger(__name__)

_LATE_MS = 1_000  # after a request's deadline its lease ends, whether or not its end was heard of
_DOUBT_S = 1.0  # an instance that Envoy did not reach is not given again for so long


class LeaseTable(als_pb2_grpc.AccessLogServiceServicer):  # type: ignore[misc]  # untyped
    """Leases by key; Envoy's log tells which requests have ended.

    A lease that was claimed in the path of a request goes by the request and the service: so also
    one is found again whose claim came too late for Envoy to know of it. A claim may be later than
    even the end of its request, which then is remembered: nobody would end that lease.

    Parameters
    ----------
    claims
        Where they are from.
    """

    def __init__(self, claims: InstanceClaims) -> None:
        self._claims = claims
        self._held: dict[
            str, list[tuple[ClaimableInstance, int]]
        ] = {}  # key -> leases, and when they end
        self._ended: set[str] = set()  # requests that had no lease, since the last `sweep`
        self._ended_before: set[str] = set()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, key: str, lease: ClaimableInstance, deadline_ms: int) -> None:
        """Keep a lease until it is given back, or its request must have ended."""
        self._held.setdefault(key, []).append((lease, deadline_ms + _LATE_MS))

    def end(self, key: str, instance_id: str, served_ms: int, *, lost: bool = False) -> None:
        """Give a lease back: who served in the end, or that the instance is dead."""
        lease = self._let_go(key, instance_id)
        if lease is None:
            self._ended.add(key)
        elif lost:
            self._claims.lose(lease)
        elif instance_id == lease.instance.instance_id:
            self._claims.give_back(lease, served_ms)
        else:  # Envoy could not reach it, or does not know it yet
            asyncio.get_running_loop().call_later(_DOUBT_S, self._claims.put_back, lease)

    def has_ended(self, key: str) -> bool:
        """Whether this request has just ended: who claims for it is late."""
        return key in self._ended or key in self._ended_before

    def sweep(self, now_ms: int) -> None:
        """End the leases whose requests must have ended, unheard of; forget what ended long ago."""
        self._ended_before, self._ended = self._ended, set()
        over = [
            (key, lease)
            for key, leases in self._held.items()
            for lease, until_ms in leases
            if until_ms < now_ms
        ]
        for key, lease in over:
            name = lease.instance.instance_id
            self._let_go(key, name)
            self._claims.give_back(lease, 0)
            told: dict[str, Any] = {"action": "lease_expired", "instance": name}
            logger.warning("The end of a lease of %s was not heard of", name, extra=told)

    def _let_go(self, key: str, instance_id: str) -> ClaimableInstance | None:
        """The lease of a key on this instance; any of it when there is none."""
        leases = self._held.pop(key, [])
        if not leases:
            return None
        names = [lease.instance.instance_id for lease, _ in leases]
        lease, _ = leases.pop(names.index(instance_id) if instance_id in names else 0)
        if leases:
            self._held[key] = leases
        return lease

    async def StreamAccessLogs(  # noqa: N802  # named by the protocol
        self, messages: AsyncIterator[Any], context: Any
    ) -> Any:
        """Take in which requests have ended."""
        del context
        async for message in messages:
            for entry in message.http_logs.log_entry:
                common, request = entry.common_properties, entry.request
                key = lease_key(request.request_id, request.request_headers[CONSTITUENT_HEADER])
                served_ms = common.duration.ToMilliseconds()
                self.end(key, common.custom_tags["instance"], served_ms)
        return als_pb2.StreamAccessLogsResponse()


def lease_key(request_id: str, service: str) -> str:
    """What a lease goes by that was claimed in the path of a request."""
    return f"{request_id}/{service}"
