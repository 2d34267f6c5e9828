"""Which request holds which exclusive instance, and when its lease ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.request_path.core.headers import CONSTITUENT_HEADER

__all__ = ["LeaseTable", "lease_key"]

logger = logging.getLogger(__name__)

_GRACE_MS = 1_000  # a lease expires so long after the deadline if its end was not reported
_QUARANTINE_S = 1.0  # how long an instance is not claimed that Envoy did not reach
_GIVEN_UP = (  # Envoy's flags of a request that ended before its answer
    *("upstream_request_timeout", "stream_idle_timeout"),
    *("downstream_connection_termination", "downstream_remote_reset"),
)


class LeaseTable(als_pb2_grpc.AccessLogServiceServicer):  # type: ignore[misc]  # untyped
    """Leases by key; Envoy's access log reports which requests have ended.

    A lease that was made by a check has the request and the constituent as its key. So it is found
    again even if the check took too long and Envoy does not know of the claim. A claim may even
    come after its request has ended: ended requests are remembered for a moment, because nothing
    would end such a lease.

    Parameters
    ----------
    claims
        Where ended leases are released.
    unanswered
        Takes the claim of an instance that owes an answer, and the deadline of its request.
    """

    def __init__(
        self, claims: InstanceClaims, unanswered: Callable[[ClaimableInstance, int], None]
    ) -> None:
        self._claims, self._unanswered = claims, unanswered
        # key -> claimed instances, and the deadlines of their requests
        self._held: dict[str, list[tuple[ClaimableInstance, int]]] = {}
        self._ended: set[str] = set()  # requests without a lease, since the last `expire`
        self._ended_before: set[str] = set()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, key: str, claimed: ClaimableInstance, deadline_ms: int) -> None:
        """Add a lease; it ends by its release, or expires after the deadline."""
        self._held.setdefault(key, []).append((claimed, deadline_ms))

    def release(
        self,
        key: str,
        instance_id: str,
        served_ms: int,
        *,
        lost: bool = False,
        unanswered: bool = False,
    ) -> None:
        """End a lease.

        Parameters
        ----------
        key
            Of the lease.
        instance_id
            The instance that served in the end, which may be another one.
        served_ms
            How long it served.
        lost
            Whether the instance is dead.
        unanswered
            Whether the request was given up before the instance answered.
        """
        lease = self._remove(key, instance_id)
        if lease is None:
            self._ended.add(key)
            return
        claimed, deadline_ms = lease
        if lost:
            self._claims.discard(claimed)
        elif unanswered:
            self._unanswered(claimed, deadline_ms)
        elif instance_id == claimed.instance.instance_id:
            self._claims.release(claimed, served_ms)
        else:  # Envoy could not reach it, or does not know it yet
            loop = asyncio.get_running_loop()
            loop.call_later(_QUARANTINE_S, self._claims.release_unused, claimed)

    def has_ended(self, key: str) -> bool:
        """Whether this request has just ended, so that a claim for it would be too late."""
        return key in self._ended or key in self._ended_before

    def expire(self, now_ms: int) -> None:
        """End leases whose requests must have ended; forget requests that ended long ago.

        Whether their instances have answered is not known either.
        """
        self._ended_before, self._ended = self._ended, set()
        expired = [
            (key, *lease)
            for key, leases in self._held.items()
            for lease in leases
            if lease[1] + _GRACE_MS < now_ms
        ]
        for key, claimed, deadline_ms in expired:
            name = claimed.instance.instance_id
            self._remove(key, name)
            self._unanswered(claimed, deadline_ms)
            extra: dict[str, Any] = {"action": "lease_expired", "instance": name}
            logger.warning("A lease of %s expired: its end was not reported", name, extra=extra)

    def _remove(self, key: str, instance_id: str) -> tuple[ClaimableInstance, int] | None:
        """Remove the lease of a key on this instance; without one, any lease of the key."""
        leases = self._held.pop(key, [])
        if not leases:
            return None
        names = [claimed.instance.instance_id for claimed, _ in leases]
        lease = leases.pop(names.index(instance_id) if instance_id in names else 0)
        if leases:
            self._held[key] = leases
        return lease

    async def StreamAccessLogs(  # noqa: N802  # named by the protocol
        self, messages: AsyncIterator[Any], context: Any
    ) -> Any:
        """Receive entries of requests that have ended."""
        del context
        async for message in messages:
            for entry in message.http_logs.log_entry:
                common, request = entry.common_properties, entry.request
                key = lease_key(request.request_id, request.request_headers[CONSTITUENT_HEADER])
                served_ms, flags = common.duration.ToMilliseconds(), common.response_flags
                given_up = any(getattr(flags, name) for name in _GIVEN_UP)
                instance_id = common.custom_tags["instance"]
                self.release(key, instance_id, served_ms, unanswered=given_up)
        return als_pb2.StreamAccessLogsResponse()


def lease_key(request_id: str, constituent: str) -> str:
    """The key of a lease that a check made."""
    return f"{request_id}/{constituent}"
