"""The life of each instance, from its start to its end: where book-keeping meets processes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

import aiohttp

from streams.provisioners.base import Limits, wall_ms
from streams.provisioners.ledger import Held, Ledger
from streams.provisioners.process import Child, NotReady
from streams.provisioners.starts import Backoff, Pulse
from streams.provisioners.watchdog import Watchdog
from streams.records import InstanceState

__all__ = ["Lives"]

logger = logging.getLogger(__name__)


class Lives:
    """Starts instances, sees them warm, drain and end, and tells `freed` when room came free."""

    def __init__(self, ledger: Ledger, limits: Limits, backoff: Backoff, freed: Pulse) -> None:
        self._ledger = ledger
        self._limits = limits
        self._backoff = backoff
        self._freed = freed
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def open(self) -> None:
        """Make ready to start instances."""
        self._session = aiohttp.ClientSession()
        self._watchdog = Watchdog.start()

    async def start(self, held: Held) -> None:
        """Start an instance; returns when it is warm or has failed."""
        now_ms = wall_ms()
        if self._closing or (not held.urgent and held.expires_ms <= now_ms):
            self.drop(held, "was not started in time")
            return
        try:
            held.child = child = await Child.spawn(held.constituent.command)
        except NotReady as error:
            self._gone(held, f"crashed: {error}")
            return
        self._watchdog.watch(child.pid)
        self._ledger.enter(
            held, InstanceState.STARTING, wall_ms(), started_ms=now_ms, endpoint=child.endpoint
        )
        self._spawn(self._watch(held, child))
        limit_s = self._limits.start_ms / 1000
        try:
            await child.ready(self._session, held.constituent.health, limit_s)
        except NotReady as error:
            if child.alive:
                held.ending = held.ending or f"crashed: {error}"
                await child.stop(self._limits.stop_ms / 1000)
        else:
            self._warm(held)

    def end(self, held: Held, reason: str) -> None:
        """Let an instance drain, then end it."""
        held.ending = reason
        self._ledger.enter(held, InstanceState.DRAINING, wall_ms(), reason=reason)
        self._spawn(self._drain(held))

    def drop(self, held: Held, reason: str) -> None:
        """Give up an instance that was not started yet."""
        self._ledger.drop(held)
        _fail(held, reason)
        self._freed.now()

    async def close(self) -> None:
        """End every instance at once."""
        self._closing = True
        for held in list(self._ledger):
            held.ending = held.ending or "the provisioner ends"
            if held.child is None:
                self.drop(held, held.ending)
        children = [held.child for held in self._ledger if held.child is not None]
        await asyncio.gather(*(c.stop(self._limits.stop_ms / 1000) for c in children))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._watchdog.close()
        await self._session.close()

    def _warm(self, held: Held) -> None:
        if held.ending or held.ready.done():
            return
        now_ms = wall_ms()
        self._backoff.succeeded(held.instance.service)
        held.used_ms = now_ms
        self._ledger.enter(held, InstanceState.WARM, now_ms, warm_since_ms=now_ms)
        held.ready.set_result(held.instance)

    async def _watch(self, held: Held, child: Child) -> None:
        how = await child.wait()
        self._watchdog.forget(child.pid)
        self._gone(held, held.ending or f"crashed: {how}")

    def _gone(self, held: Held, reason: str) -> None:
        now_ms = wall_ms()
        if _fail(held, reason):
            self._backoff.failed(held.instance.service, now_ms)
        if reason.startswith("crashed"):
            told = {"action": "crash", "instance": held.instance.instance_id}
            logger.warning("%s %s", held.instance.instance_id, reason, extra=told)
        self._ledger.enter(held, InstanceState.GONE, now_ms, gone_ms=now_ms, reason=reason)
        self._freed.now()

    async def _drain(self, held: Held) -> None:
        """Leave gateways the time to hear of it, and requests the time to finish."""
        await asyncio.sleep(self._limits.grace_ms / 1000)
        deadline_ms = wall_ms() + self._limits.report_ms
        while held.in_flight and wall_ms() < deadline_ms:
            await self._freed.wait(self._limits.report_ms / 1000)
        if held.child is not None:
            await held.child.stop(self._limits.stop_ms / 1000)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _fail(held: Held, reason: str) -> bool:
    """Tell those who wait for an instance that it will not come; False when it had come."""
    if held.ready.done():
        return False
    held.ready.set_exception(NotReady(reason))
    held.ready.exception()  # seen: nobody may be waiting
    return True
