"""The interface that every provisioner implements, and the values that cross it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.records import Command, Instance, Utilisation
from streams.runtime.json_body import JsonCount, JsonName, JsonTime

__all__ = [
    "InstanceRequest",
    "InstanceUse",
    "Provisioner",
    "ProvisionerLimits",
    "StandardPathRefused",
]


class StandardPathRefused(Exception):
    """The standard path cannot serve a request now; the message says why."""

    def __init__(self, reason: str, *, retry_after_s: int = 1, known: bool = True) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.known = known  # whether the constituent is in the catalogue at all


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRequest:
    """A request that needs an instance of a constituent."""

    service: JsonName
    request_id: JsonName
    deadline_ms: JsonTime  # since the epoch; the client gives up then
    known: frozenset[JsonName] = frozenset()  # instances that the client has already
    pool: JsonName = ""  # in which it is needed; empty for that of the provisioner


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceUse:
    """A gateway's report on one instance; counters are since its previous report."""

    instance_id: JsonName
    in_flight: JsonCount  # requests being served now
    uses: JsonCount = 0  # requests served
    busy_ms: JsonCount = 0  # time for which requests held it
    claimable: bool | None = None  # whether requests may still be routed to it; None: no change


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionerLimits:
    """Bounds and timeouts of a provisioner; durations in milliseconds."""

    starts: int = 2  # concurrent starts
    waiting: int = 64  # requests that wait for room in the pool
    keep_alive_ms: int = 600_000  # ended after this long without use, where nobody allocates
    trust_ms: int = 3_600_000  # after a command for its pool an allocator decides for so long
    grace_ms: int = 100  # least time between DRAINING and the end of an instance
    claim_ms: int = 2_000  # time by which gateways have heard that an instance drains
    start_ms: int = 60_000  # start timeout
    stop_ms: int = 5_000  # from SIGTERM to SIGKILL
    report_ms: int = 30_000  # a report of use older than this is ignored
    backoff_ms: int = 500  # first pause after a failed start; doubles up to a minute
    remembered: int = 10_000  # ids of recent commands, to recognise duplicates


class Provisioner(Protocol):
    """Carries out commands and serves the standard path for one pool."""

    async def open(self, known: Sequence[Instance] = ()) -> None:
        """Start up; of its predecessor's instances, adopt those that run and mark the rest gone."""
        ...

    async def carry_out(self, command: Command) -> str:
        """Carry out a command; idempotent by its id. Returns what was done, for the log."""
        ...

    async def standard(self, request: InstanceRequest) -> Instance:
        """Return a warm instance for a waiting request, starting one where necessary.

        Raises
        ------
        StandardPathRefused
            There is no room, the start failed, or the deadline passed.
        """
        ...

    def use(self, uses: Iterable[InstanceUse]) -> None:
        """Take in reports of use, so that busy instances are not ended."""
        ...

    def instances(self) -> Sequence[Instance]:
        """Every instance that is not gone."""
        ...

    def utilisation(self) -> Utilisation:
        """Capacity and use of the pool."""
        ...

    def sweep(self) -> None:
        """End what is idle for too long, and publish what use has changed; called ten times a second."""
        ...

    def republish(self) -> None:
        """Publish every record again, because some were lost."""
        ...

    def forget_gone(self, before_ms: int) -> Iterator[Instance]:
        """Yield and forget instances gone before a time: their records may be deleted."""
        ...

    async def close(self) -> None:
        """Stop starting instances; end those that cannot outlive the provisioner."""
        ...
