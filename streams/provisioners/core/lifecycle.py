"""Starting, draining and ending instances; implemented once for each place where they run."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence

from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.provisioners.core.start_queue import StartBackoff
from streams.records import Command, Instance, InstanceState
from streams.records.catalog import Resources
from streams.runtime.clock import wall_ms
from streams.runtime.wake_signal import WakeSignal

__all__ = ["InstanceLifecycle", "StartFailed"]

logger = logging.getLogger(__name__)


class StartFailed(Exception):
    """An instance did not become warm; the message says why."""


class InstanceLifecycle(ABC):
    """Starts, drains and ends instances; signals `freed` whenever room becomes free."""

    layered = False  # whether instances are forked from the base of their constituent

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
        self._failure: BaseException | None = None  # of a vital task
        self._closing = False

    @abstractmethod
    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        """Adopt the instances of `known` that still run; returns ids of commands already done."""

    async def attempt(self, held: HeldInstance) -> None:
        """Start an instance; an error that nobody foresaw ends this start alone, and is logged."""
        try:
            await self.start(held)
        except Exception as error:  # who calls starts all others as well
            name = held.instance.instance_id
            logger.exception("The start of %s failed", name, extra={"action": "start_failed"})
            held.end_reason = held.end_reason or f"crashed: {error!r}"
            self._spawn(self.stop(held))

    @abstractmethod
    async def start(self, held: HeldInstance) -> None:
        """Start an instance; returns when it is warm or has failed."""

    @abstractmethod
    async def stop(self, held: HeldInstance) -> None:
        """End an instance; it is gone once nothing of it runs, at once if nothing does."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything; instances that cannot outlive the provisioner end."""

    def measure(self, now_ms: int) -> Mapping[HeldInstance, Resources]:
        """Return the measured use of each instance whose use is known."""
        del now_ms
        return {}

    def record_done(self, command: Command) -> None:  # noqa: B027  # needless where instances end too
        """Persist that a command was carried out, for a successor of this provisioner."""

    def check(self) -> None:
        """Raise the error that ended what has to run for as long as the provisioner."""
        if self._failure is not None:
            raise self._failure

    def capacity(self, declared: Resources) -> Resources:
        """Return the capacity of the pool: as declared, or less where the machines have less."""
        return declared

    def end(self, held: HeldInstance, reason: str) -> None:
        """Drain an instance, then end it."""
        held.end_reason = reason
        self._ledger.change_state(held, InstanceState.DRAINING, wall_ms(), reason=reason)
        self._spawn(self._drain(held))

    def discard(self, held: HeldInstance, reason: str) -> None:
        """Cancel a start that has not begun."""
        self._ledger.discard(held)
        _fail(held, reason)
        self._freed.wake()

    def _discard_if_late(self, held: HeldInstance) -> bool:
        """Discard a start whose time has passed before its turn came; whether it was."""
        late = self._closing or (not held.urgent and held.expires_ms <= wall_ms())
        if late:
            self.discard(held, "was not started in time")
        return late

    def _mark_warm(self, held: HeldInstance, **fields: str) -> None:
        if held.end_reason or held.ready.done():
            return
        now_ms = wall_ms()
        self._backoff.succeeded(held.instance.service)
        held.used_ms = now_ms
        self._ledger.change_state(held, InstanceState.WARM, now_ms, warm_since_ms=now_ms, **fields)
        held.ready.set_result(held.instance)

    def _mark_gone(self, held: HeldInstance, reason: str) -> None:
        if held.instance.state is InstanceState.GONE:
            return
        now_ms = wall_ms()
        if _fail(held, reason):
            self._backoff.failed(held.instance.service, now_ms)
        if reason.startswith("crashed"):
            extra = {"action": "crash", "instance": held.instance.instance_id}
            logger.warning("%s %s", held.instance.instance_id, reason, extra=extra)
        self._ledger.change_state(held, InstanceState.GONE, now_ms, gone_ms=now_ms, reason=reason)
        self._freed.wake()

    async def _drain(self, held: HeldInstance) -> None:
        """Wait until gateways have heard of it and its requests have finished, then stop it."""
        heard_ms = wall_ms() + self._limits.claim_ms
        await asyncio.sleep(self._limits.grace_ms / 1000)
        deadline_ms = wall_ms() + self._limits.report_ms
        while held.instance.state is not InstanceState.GONE and (
            (held.in_flight and wall_ms() < deadline_ms)
            or (held.claimable and wall_ms() < heard_ms)
        ):
            await self._freed.wait(self._limits.grace_ms / 1000)
        await self.stop(held)

    def _spawn(self, work: Coroutine[None, None, None], *, vital: bool = False) -> None:
        """Run a task until `close`; an error is logged, and that of a vital one raised by `check`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._vital_ended if vital else self._ended)

    def _vital_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._failure = self._failure or task.exception()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%r", error, exc_info=error, extra={"action": "task_failed"})


def _fail(held: HeldInstance, reason: str) -> bool:
    """Fail the start for all that wait for it; False when it had succeeded or failed already."""
    if held.ready.done():
        return False
    held.ready.set_exception(StartFailed(reason))
    held.ready.exception()  # retrieved, or asyncio would warn when nobody waits
    return True
