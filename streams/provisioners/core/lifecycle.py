"""The life of each instance, from its start to its end, wherever it runs."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence

from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.provisioners.core.start_queue import StartBackoff, WakeSignal
from streams.records import Command, Instance, InstanceState
from streams.records.catalog import Resources
from streams.runtime.clock import wall_ms

__all__ = ["InstanceLifecycle", "StartFailed"]

logger = logging.getLogger(__name__)


class StartFailed(Exception):
    """An instance did not come to serve; the message says why."""


class InstanceLifecycle(ABC):
    """Starts instances, sees them warm, drain and end, and tells `freed` when room came free."""

    layered = False  # whether instances are forked from the base that their constituent names

    def __init__(
        self,
        ledger: InstanceLedger,
        limits: ProvisionerLimits,
        backoff: StartBackoff,
        freed: WakeSignal,
    ) -> None:
        self._ledger = ledger
        self._limits = limits
        self._backoff = backoff
        self._freed = freed
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @abstractmethod
    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        """Take over what still runs of `known`; returns ids of commands that are done already."""

    @abstractmethod
    async def start(self, held: HeldInstance) -> None:
        """Start an instance; returns when it is warm or has failed."""

    @abstractmethod
    async def stop(self, held: HeldInstance) -> None:
        """End an instance that serves nothing any more."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of all; instances that cannot outlive the provisioner end."""

    def measure(self, now_ms: int) -> None:  # noqa: B027  # not everywhere can it be known
        """Set `measured` of the instances, where that can be known."""

    def done(self, command: Command) -> None:  # noqa: B027  # where instances end with it, no need
        """Keep in mind, beyond this life, that a command was carried out."""

    def capacity(self, declared: Resources) -> Resources:
        """What there is to run on: as declared, or less where less is there."""
        return declared

    def end(self, held: HeldInstance, reason: str) -> None:
        """Let an instance drain, then end it."""
        held.ending = reason
        self._ledger.enter(held, InstanceState.DRAINING, wall_ms(), reason=reason)
        self._spawn(self._drain(held))

    def drop(self, held: HeldInstance, reason: str) -> None:
        """Give up an instance that was not started yet."""
        self._ledger.drop(held)
        _fail(held, reason)
        self._freed.now()

    def _too_late(self, held: HeldInstance) -> bool:
        """Drop what is not wanted any more when its turn has come."""
        late = self._closing or (not held.urgent and held.expires_ms <= wall_ms())
        if late:
            self.drop(held, "was not started in time")
        return late

    def _warm(self, held: HeldInstance, **news: str) -> None:
        if held.ending or held.ready.done():
            return
        now_ms = wall_ms()
        self._backoff.succeeded(held.instance.service)
        held.used_ms = now_ms
        self._ledger.enter(held, InstanceState.WARM, now_ms, warm_since_ms=now_ms, **news)
        held.ready.set_result(held.instance)

    def _gone(self, held: HeldInstance, reason: str) -> None:
        now_ms = wall_ms()
        if _fail(held, reason):
            self._backoff.failed(held.instance.service, now_ms)
        if reason.startswith("crashed"):
            told = {"action": "crash", "instance": held.instance.instance_id}
            logger.warning("%s %s", held.instance.instance_id, reason, extra=told)
        self._ledger.enter(held, InstanceState.GONE, now_ms, gone_ms=now_ms, reason=reason)
        self._freed.now()

    async def _drain(self, held: HeldInstance) -> None:
        """Leave gateways the time to hear of it, and requests the time to finish."""
        heard_ms = wall_ms() + self._limits.claim_ms
        await asyncio.sleep(self._limits.grace_ms / 1000)
        deadline_ms = wall_ms() + self._limits.report_ms
        while (held.in_flight and wall_ms() < deadline_ms) or (
            held.claimable and wall_ms() < heard_ms
        ):
            await self._freed.wait(self._limits.grace_ms / 1000)
        await self.stop(held)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _fail(held: HeldInstance, reason: str) -> bool:
    """Tell those who wait for an instance that it will not come; False when it had come."""
    if held.ready.done():
        return False
    held.ready.set_exception(StartFailed(reason))
    held.ready.exception()  # seen: nobody may be waiting
    return True
