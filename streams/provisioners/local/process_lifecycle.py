"""The lifecycle of instances that are child processes: spawned, or forked from a running base."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.provisioners.core.lifecycle import InstanceLifecycle
from streams.provisioners.core.start_queue import StartBackoff
from streams.provisioners.local.cgroups import UNLIMITED, CgroupLimiter, InstanceCgroup
from streams.provisioners.local.child_process import InstanceProcess, ProcessNotReady
from streams.provisioners.local.command_policy import CommandPolicy
from streams.provisioners.local.usage_meter import UsageMeter
from streams.provisioners.local.watchdog import ProcessWatchdog
from streams.provisioners.local.zygote_client import ZygoteProcess
from streams.records import Instance, InstanceState
from streams.records.catalog import Constituent, Resources
from streams.runtime.clock import wall_ms
from streams.runtime.wake_signal import WakeSignal

__all__ = ["ProcessLifecycle"]

_NOT_ALLOWED = "its command is not allowed here: see `foremesh provision --allow-command`"


class ProcessLifecycle(InstanceLifecycle):
    """Each instance is a process group; none outlives the provisioner."""

    layered = True

    def __init__(
        self,
        ledger: InstanceLedger,
        limits: ProvisionerLimits,
        backoff: StartBackoff,
        freed: WakeSignal,
        *,
        cgroups: Callable[[], CgroupLimiter],
        commands: CommandPolicy,
    ) -> None:
        super().__init__(ledger, limits, backoff, freed)
        self._commands = commands
        self._open_cgroups = cgroups
        self.children: dict[HeldInstance, InstanceProcess | ZygoteProcess] = {}
        self._meter = UsageMeter()

    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        """Set up cgroups and the watchdog; there is nothing to adopt."""
        del known  # they ended with their provisioner
        self._cgroups = self._open_cgroups()
        self._session = aiohttp.ClientSession()
        self._watchdog = ProcessWatchdog.start(self._cgroups.folders)
        return frozenset()

    async def start(self, held: HeldInstance) -> None:
        """Start an instance; returns when it is warm or has failed."""
        if self._discard_if_late(held):
            return
        now_ms = wall_ms()
        deadline_s = time.monotonic() + self._limits.start_ms / 1000
        cgroup = UNLIMITED
        try:
            cgroup = self._cgroup(held)
            child = await self._spawn_child(held, cgroup)
        except (ProcessNotReady, OSError) as error:  # of processes, files, ports there may be none
            await cgroup.remove()
            self._mark_gone(held, f"crashed: {_said(error)}")
            return
        self.children[held] = child
        self._spawn(self._watch(held, child, cgroup))
        self._watchdog.watch(child.pid)
        self._ledger.change_state(
            held, InstanceState.STARTING, wall_ms(), started_ms=now_ms, endpoint=child.endpoint
        )
        try:
            await self._wait_ready(child, held.constituent, deadline_s)
        except (ProcessNotReady, OSError) as error:
            if child.alive:
                held.end_reason = held.end_reason or f"crashed: {_said(error)}"
                await child.stop(self._limits.stop_ms / 1000)
        else:
            self._mark_warm(held)

    def _cgroup(self, held: HeldInstance) -> InstanceCgroup:
        """Make the cgroup that limits an instance.

        A base is not limited: its cgroup is charged for all pages shared with its forks, and for
        old copies of pages that it has changed since, so its use grows with the number of forks.
        """
        needs = Resources() if held.is_base else held.constituent.needs
        try:
            return self._cgroups.group(held.instance.instance_id, needs)
        except OSError as error:
            raise ProcessNotReady(f"its limits cannot be set: {error.strerror}") from error

    async def _spawn_child(
        self, held: HeldInstance, cgroup: InstanceCgroup
    ) -> InstanceProcess | ZygoteProcess:
        """Spawn the process of an instance or a base, or fork it from its base."""
        command = held.constituent.command
        if command and not self._commands.allows(command):
            raise ProcessNotReady(_NOT_ALLOWED)
        environment = self._commands.environment(os.environ)
        if held.is_base:
            return await ZygoteProcess.spawn(command, environment, cgroup)
        if held.base is None:
            return await InstanceProcess.spawn(command, environment, cgroup)
        zygote = self._zygote(held.base)
        try:
            child = await zygote.fork(command, self._limits.start_ms / 1000, cgroup)
        except ProcessNotReady as error:
            if not zygote.can_fork and not held.base.end_reason:
                held.base.end_reason = f"crashed: {error}"  # so the next start gets a new base
                self._spawn(zygote.stop(self._limits.stop_ms / 1000))
            raise
        self._ledger.record_fork(held.base, wall_ms())
        return child

    def _zygote(self, base: HeldInstance) -> ZygoteProcess:
        """Return the process of a warm base."""
        zygote = self.children.get(base)
        if not isinstance(zygote, ZygoteProcess) or base.end_reason:
            why = base.ready.exception() or base.end_reason or base.instance.reason
            raise ProcessNotReady(f"its base {base.instance.service}: {why}")
        return zygote

    async def _wait_ready(
        self, child: InstanceProcess | ZygoteProcess, constituent: Constituent, deadline_s: float
    ) -> None:
        """Wait until a base has imported its modules, or an instance answers and is warmed up."""
        if isinstance(child, ZygoteProcess):
            await child.ready(_left_s(deadline_s))
            return
        await child.ready(self._session, constituent.health, _left_s(deadline_s))
        if path := constituent.warm_up:
            body = constituent.warm_up_body
            await child.warm_up(self._session, path, body, _left_s(deadline_s))

    async def stop(self, held: HeldInstance) -> None:
        """End its process."""
        child = self.children.get(held)
        if child is None:
            self._mark_gone(held, held.end_reason)
        else:
            await child.stop(self._limits.stop_ms / 1000)

    async def close(self) -> None:
        """End every instance at once."""
        self._closing = True
        for held in list(self._ledger):
            held.end_reason = held.end_reason or "the provisioner is shutting down"
            if held not in self.children:
                self.discard(held, held.end_reason)
        await asyncio.gather(*(self.stop(held) for held in list(self.children)))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._watchdog.close()
        self._cgroups.close()
        await self._session.close()

    def measure(self, now_ms: int) -> Mapping[HeldInstance, Resources]:
        """Measure memory and CPU of the process groups."""
        return self._meter.read({held: child.pid for held, child in self.children.items()}, now_ms)

    async def _watch(
        self, held: HeldInstance, child: InstanceProcess | ZygoteProcess, cgroup: InstanceCgroup
    ) -> None:
        how = cgroup.explain_end(await child.wait())
        await cgroup.remove()
        self._watchdog.forget(child.pid)
        del self.children[held]
        self._mark_gone(held, held.end_reason or f"crashed: {how}")


def _said(error: ProcessNotReady | OSError) -> str:
    if isinstance(error, OSError):
        return f"cannot be started: {error.strerror or error}"
    return str(error)


def _left_s(deadline_s: float) -> float:
    return max(0.0, deadline_s - time.monotonic())
