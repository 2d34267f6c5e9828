"""One interface for all provisioners, in the words of the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.records import Command, Instance, Utilisation

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
        self.known = known  # whether the service is in the catalogue at all


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRequest:
    """A request that waits for an instance of a constituent."""

    service: str
    request_id: str
    deadline_ms: int  # since the epoch; after it nobody waits any more
    known: frozenset[str] = frozenset()  # instances the asker has already


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceUse:
    """What a gateway does with an instance, as news since its last report."""

    instance_id: str
    in_flight: int  # requests it serves just now
    uses: int = 0  # served since the last report
    busy_ms: int = 0  # time spent serving since the last report
    claimable: bool | None = None  # whether it may still be given to requests; None: by others


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionerLimits:
    """Bounds that a provisioner keeps; durations in milliseconds."""

    starts: int = 2  # instances that start at once
    waiting: int = 64  # requests that wait for room in the pool
    keep_alive_ms: int = 600_000  # idle so long with no use and no command: ended
    grace_ms: int = 100  # between saying that an instance drains and ending it, at least
    claim_ms: int = 2_000  # who claims instances has heard by then that one drains
    start_ms: int = 60_000  # start-up time after which an instance is given up
    stop_ms: int = 5_000  # from SIGTERM to SIGKILL
    report_ms: int = 30_000  # a report of use older than this counts no more
    backoff_ms: int = 500  # pause after a failed start, doubled each time, at most a minute
    remembered: int = 10_000  # command ids that are recognised when they come again


class Provisioner(Protocol):
    """Carries commands out and serves the standard path for one pool."""

    async def open(self, known: Sequence[Instance] = ()) -> None:
        """Make ready; of `known`, an earlier life's, take over what still runs, bury the rest."""
        ...

    async def carry_out(self, command: Command) -> str:
        """Do what a command says, once however often it comes; returns what came of it."""
        ...

    async def standard(self, want: InstanceRequest) -> Instance:
        """A warm instance for a waiting request, started now or about to be ready.

        Raises
        ------
        Refused
            There is no room, the start failed, or the deadline passed.
        """
        ...

    def use(self, uses: Iterable[InstanceUse]) -> None:
        """Note which instances serve requests, so that busy ones are not ended."""
        ...

    def instances(self) -> Sequence[Instance]:
        """Every instance that is not gone."""
        ...

    def utilisation(self) -> Utilisation:
        """Capacity and use of the pool."""
        ...

    def sweep(self) -> None:
        """End what nobody wants any more, publish what changed by use; called ten times a second."""
        ...

    def republish(self) -> None:
        """Publish every record again: some were lost."""
        ...

    def forgotten(self, before_ms: int) -> Iterator[Instance]:
        """Those gone before a time, each once: their records need not be kept any longer."""
        ...

    async def close(self) -> None:
        """Start nothing any more; end the instances that cannot outlive the provisioner."""
        ...
