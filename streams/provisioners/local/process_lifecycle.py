"""Instances as child processes of this one, spawned, or forked from a base that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.provisioners.core.lifecycle import InstanceLifecycle
from streams.provisioners.core.start_queue import StartBackoff, WakeSignal
from streams.provisioners.local.cgroups import UNLIMITED, CgroupLimiter, InstanceCgroup
from streams.provisioners.local.child_process import InstanceProcess, ProcessNotReady
from streams.provisioners.local.usage_meter import UsageMeter
from streams.provisioners.local.watchdog import ProcessWatchdog
from streams.provisioners.local.zygote_process import ZygoteProcess
from streams.records import Instance, InstanceState
from streams.records.catalog import Constituent, Resources
from streams.runtime.clock import wall_ms

__all__ = ["ProcessLifecycle"]


class ProcessLifecycle(InstanceLifecycle):
    """Each instance is a process group; none outlives the provisioner."""

    layered = True

    def __init__(
        self,
        ledger: InstanceLedger,
        limits: ProvisionerLimits,
        backoff: StartBackoff,
        freed: WakeSignal,
        cgroups: Callable[[], CgroupLimiter] = CgroupLimiter,
    ) -> None:
        super().__init__(ledger, limits, backoff, freed)
        self._make_cgroups = cgroups

    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        """Make ready to start instances; those of an earlier life died with it."""
        del known
        self.children: dict[HeldInstance, InstanceProcess | ZygoteProcess] = {}
        self._meter = UsageMeter()
        self._cgroups = self._make_cgroups()
        self._session = aiohttp.ClientSession()
        self._watchdog = ProcessWatchdog.start(self._cgroups.folders)
        return frozenset()

    async def start(self, held: HeldInstance) -> None:
        """Start an instance; returns when it is warm or has failed."""
        if self._too_late(held):
            return
        now_ms = wall_ms()
        cgroup = UNLIMITED
        try:
            cgroup = self._cgroup(held)
            child = await self._begin(held, cgroup)
        except ProcessNotReady as error:
            await cgroup.remove()
            self._gone(held, f"crashed: {error}")
            return
        self.children[held] = child
        self._watchdog.watch(child.pid)
        self._ledger.enter(
            held, InstanceState.STARTING, wall_ms(), started_ms=now_ms, endpoint=child.endpoint
        )
        self._spawn(self._watch(held, child, cgroup))
        try:
            await self._ready(child, held.constituent)
        except ProcessNotReady as error:
            if child.alive:
                held.ending = held.ending or f"crashed: {error}"
                await child.stop(self._limits.stop_ms / 1000)
        else:
            self._warm(held)

    def _cgroup(self, held: HeldInstance) -> InstanceCgroup:
        """What limits it, with all that it starts.

        A base is not limited. It is charged for what its instances share with it, and for pages
        that it has changed since but they have not: the more start from it, the more it would take.
        """
        needs = Resources() if held.lends else held.constituent.needs
        try:
            return self._cgroups.group(held.instance.instance_id, needs)
        except OSError as error:
            raise ProcessNotReady(f"its limits cannot be set: {error.strerror}") from error

    async def _begin(
        self, held: HeldInstance, cgroup: InstanceCgroup
    ) -> InstanceProcess | ZygoteProcess:
        """Have its process."""
        command = held.constituent.command
        if held.lends:
            return await ZygoteProcess.spawn(command, cgroup)
        if held.base is None:
            return await InstanceProcess.spawn(command, cgroup)
        zygote = self._zygote(held.base)
        try:
            child = await zygote.fork(command, self._limits.start_ms / 1000, cgroup)
        except ProcessNotReady as error:
            if not zygote.lends and not held.base.ending:
                held.base.ending = f"crashed: {error}"  # the next start has another
                self._spawn(zygote.stop(self._limits.stop_ms / 1000))
            raise
        self._ledger.lent(held.base, wall_ms())
        return child

    def _zygote(self, base: HeldInstance) -> ZygoteProcess:
        """What forks, of a base that is warm."""
        zygote = self.children.get(base)
        if not isinstance(zygote, ZygoteProcess) or base.ending:
            why = base.ready.exception() or base.ending or base.instance.reason
            raise ProcessNotReady(f"its base {base.instance.service}: {why}")
        return zygote

    async def _ready(
        self, child: InstanceProcess | ZygoteProcess, constituent: Constituent
    ) -> None:
        """Wait until it has imported all; or until it answers, and has had its first request."""
        limit_s = self._limits.start_ms / 1000
        if isinstance(child, ZygoteProcess):
            await child.ready(limit_s)
            return
        await child.ready(self._session, constituent.health, limit_s)
        if constituent.warm_up:
            await child.warm_up(
                self._session, constituent.warm_up, constituent.warm_up_body, limit_s
            )

    async def stop(self, held: HeldInstance) -> None:
        """End its process."""
        child = self.children.get(held)
        if child is not None:
            await child.stop(self._limits.stop_ms / 1000)

    async def close(self) -> None:
        """End every instance at once."""
        self._closing = True
        for held in list(self._ledger):
            held.ending = held.ending or "the provisioner ends"
            if held not in self.children:
                self.drop(held, held.ending)
        await asyncio.gather(*(self.stop(held) for held in list(self.children)))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._watchdog.close()
        self._cgroups.close()
        await self._session.close()

    def measure(self, now_ms: int) -> None:
        """Read memory and processor time of the process groups."""
        self._meter.read({held: child.pid for held, child in self.children.items()}, now_ms)

    async def _watch(
        self, held: HeldInstance, child: InstanceProcess | ZygoteProcess, cgroup: InstanceCgroup
    ) -> None:
        how = cgroup.explain(await child.wait())
        await cgroup.remove()
        self._watchdog.forget(child.pid)
        del self.children[held]
        self._gone(held, held.ending or f"crashed: {how}")
