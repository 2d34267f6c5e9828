"""A provisioner without the machines: how commands and waiting requests become starts and ends."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from streams.provisioners.core.base_layers import BaseLayers
from streams.provisioners.core.interface import (
    InstanceRequest,
    InstanceUse,
    ProvisionerLimits,
    StandardPathRefused,
)
from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.provisioners.core.lifecycle import InstanceLifecycle, StartFailed
from streams.provisioners.core.start_queue import StartBackoff, StartQueue
from streams.records import Action, Command, Instance, Utilisation
from streams.records.catalog import Catalog, Constituent, Pool, Resources
from streams.records.instances import ON_REQUEST
from streams.runtime.clock import wall_ms
from streams.runtime.wake_signal import WakeSignal

__all__ = ["PoolProvisioner"]

LifecycleT = TypeVar("LifecycleT", bound=InstanceLifecycle)


class PoolProvisioner(Generic[LifecycleT]):
    """Carries out the commands of one pool; implements `Provisioner`.

    Parameters
    ----------
    pool
        Name of the pool.
    catalog
        Returns the current catalogue.
    emit
        Publishes a record of an instance; must not block.
    limits
        Bounds and timeouts.
    lifecycle
        Makes what starts and ends instances, given the ledger, the limits, the back-off and the
        signal that room became free.
    """

    def __init__(
        self,
        pool: str,
        catalog: Callable[[], Catalog],
        emit: Callable[[Instance], None],
        limits: ProvisionerLimits,
        lifecycle: Callable[
            [InstanceLedger, ProvisionerLimits, StartBackoff, WakeSignal], LifecycleT
        ],
    ) -> None:
        self.pool = pool
        self.limits = limits
        self.ledger = InstanceLedger(pool, emit)
        self._catalog = catalog
        self._recent_commands: OrderedDict[str, None] = OrderedDict()
        self._commanded_ms = 0  # when the last command came
        self._backoff = StartBackoff(limits.backoff_ms)
        self._waiting = 0
        self._freed = WakeSignal()
        self.lifecycle = lifecycle(self.ledger, limits, self._backoff, self._freed)
        self._layers = BaseLayers(self.ledger, catalog, forks=self.lifecycle.layered)

    async def open(self, known: Sequence[Instance] = ()) -> None:
        """Start up; of `known`, adopt the instances that still run and publish the rest as gone."""
        for command_id in await self.lifecycle.open(known):
            self._remember(command_id)
            self._commanded_ms = wall_ms()  # nobody noted when, and an allocator may be silent now
        self.ledger.bury(known, wall_ms())
        self._starts = StartQueue(self.lifecycle.attempt, self.limits.starts)

    # ------------------------------------------------------------------ commands

    async def carry_out(self, command: Command) -> str:
        """Carry out a command; idempotent by its id. Returns what was done, for the log."""
        now_ms = wall_ms()
        if command.pool != self.pool:
            return "is for another pool"
        self._commanded_ms = now_ms
        if command.command_id in self._recent_commands:
            return "was carried out before"
        self._remember(command.command_id)
        if command.expires_ms <= now_ms:
            return f"expired {now_ms - command.expires_ms} ms ago"
        result = "stays queued at the allocator"
        match command.action:
            case Action.PROVISION:
                result = self._provision(command, now_ms)
            case Action.RELEASE:
                result = self._release(command, now_ms)
        self.lifecycle.record_done(command)
        return result

    def _provision(self, command: Command, now_ms: int) -> str:
        constituent = self._catalog().constituents.get(command.service)
        if constituent is None:
            return f"names a constituent that is not in the catalogue: {command.service}"
        if failed := self._backed_off(constituent, now_ms):
            return f"is dropped: the last start of {failed} failed"
        for held in self.ledger:
            if held.instance.service == command.service:
                held.used_ms = max(held.used_ms, now_ms)  # a command for more keeps these alive
        count, started = command.count, 0
        if self._layers.is_base(command.service):  # one instance serves all forks
            if self.ledger.usable_base(command.service):
                return f"keeps {command.service}, which runs"
            count = 1
        while started < count and self._layers.start_needs(constituent).fits(self._free()):
            self._reserve(constituent, command.command_id, command.reason, command.expires_ms)
            started += 1
        return f"starts {started} of {command.count} {command.service}"

    def _backed_off(self, constituent: Constituent, now_ms: int) -> str:
        """Return the constituent, or its missing base, that is in back-off; empty for none."""
        missing = self._layers.missing_base(constituent)
        services = [constituent.service, *([missing.service] if missing else [])]
        return next((x for x in services if self._backoff.until(x) > now_ms), "")

    def _reserve(
        self, constituent: Constituent, command_id: str, reason: str, expires_ms: int = 0
    ) -> HeldInstance:
        """Reserve room for an instance, and for its base if that is missing, and queue the starts.

        A start without expiry is urgent: a request waits for it.
        """
        if missing := self._layers.missing_base(constituent):
            why = f"needed as the base of {constituent.service}"
            self._reserve(missing, command_id, why, expires_ms)
        held = self.ledger.add(
            constituent,
            command_id,
            wall_ms(),
            reason,
            base=self._layers.usable_base(constituent),
            is_base=self._layers.is_base(constituent.service),
        )
        held.expires_ms, held.urgent = expires_ms, not expires_ms
        self._starts.put(held)
        if held.base is not None:
            held.base.expires_ms = max(held.base.expires_ms, expires_ms)
            if held.urgent:
                self._starts.expedite(held.base)
        return held

    def _release(self, command: Command, now_ms: int) -> str:
        idle = self.ledger.idle(now_ms, self.limits.grace_ms, command.service)[: command.count]
        for held in idle:
            self.lifecycle.end(held, f"released: {command.reason}")
        return f"ends {len(idle)} of {command.count} {command.service}"

    def _remember(self, command_id: str) -> None:
        self._recent_commands[command_id] = None
        if len(self._recent_commands) > self.limits.remembered:
            self._recent_commands.popitem(last=False)

    # ------------------------------------------------------------------ standard path

    async def standard(self, request: InstanceRequest) -> Instance:
        """Return a warm instance for a waiting request: see `Provisioner.standard`."""
        if request.pool and request.pool != self.pool:
            raise StandardPathRefused(
                f"this provisioner is of pool {self.pool!r}, not of {request.pool!r}: set"
                " FOREMESH_PROVISIONER to that of the pool",
                known=False,
            )
        constituent = self._catalog().constituents.get(request.service)
        if constituent is None:
            raise StandardPathRefused(f"{request.service} is not in the catalogue", known=False)
        if request.service in self._catalog().bases:
            raise StandardPathRefused(
                f"{request.service} serves no requests: it is the base of other constituents",
                known=False,
            )
        try:
            async with asyncio.timeout(max(0.0, (request.deadline_ms - wall_ms()) / 1000)):
                held = self._available(request) or await self._reserve_urgent(constituent, request)
                if held.ready.done():
                    held.used_ms = wall_ms()
                    return held.instance
                self._starts.expedite(held)
                return await held.wait_until_warm()
        except TimeoutError:
            raise StandardPathRefused(
                f"no instance of {request.service} was ready in time"
            ) from None
        except StartFailed as error:
            raise StandardPathRefused(
                f"{request.service} did not start: {error}", retry_after_s=2
            ) from None

    def _available(self, request: InstanceRequest) -> HeldInstance | None:
        """Return a warm instance, or a start that one more request may wait for."""
        warm = self.ledger.warm_unknown_to(request.service, request.known)
        return warm or self.ledger.joinable_start(request.service)

    async def _reserve_urgent(
        self, constituent: Constituent, request: InstanceRequest
    ) -> HeldInstance:
        """Reserve an instance for a request; when the pool is full, idle ones are ended for it."""
        if self._waiting >= self.limits.waiting:
            raise StandardPathRefused(
                f"{self._waiting} requests already wait for room in pool {self.pool}"
            )
        if not self._layers.full_needs(constituent).fits(self._capacity()):
            raise StandardPathRefused(
                f"{request.service} needs more than pool {self.pool} has", retry_after_s=60
            )
        self._waiting += 1
        try:
            while not (needs := self._layers.start_needs(constituent)).fits(self._free()):
                self._make_room(needs, request.service, self._layers.usable_base(constituent))
                # An instance that has just become idle may be ended once its grace is over.
                await self._freed.wait(self.limits.grace_ms / 1000)
        finally:
            self._waiting -= 1
        cause = f"{ON_REQUEST}{request.request_id}"
        return self._reserve(constituent, cause, "a request is waiting for it")

    def _make_room(self, needs: Resources, service: str, spared: HeldInstance | None) -> None:
        """End idle instances of others, but no faster than the starts that replace them can run.

        Under overload, requests would otherwise end idle instances long before their own starts
        come to the head of the queue, and no instance would live long enough to be used twice.
        """
        replacing = sum(held.urgent and not held.ready.done() for held in self.ledger)
        if replacing >= self.limits.starts:
            return
        for held in self.ledger.idle(wall_ms(), self.limits.grace_ms):
            if needs.fits(self._free() + self.ledger.releasing()):
                return
            if held is not spared and held.instance.service != service:
                self.lifecycle.end(held, "gave way to a request")

    # ------------------------------------------------------------------ use

    def use(self, uses: Iterable[InstanceUse]) -> None:
        """Take in reports of use, so that busy instances are not ended."""
        now_ms = wall_ms()
        for use in uses:
            self.ledger.report_use(use, now_ms)
        self._freed.wake()  # an instance that became idle may be ended for a waiting request

    def instances(self) -> Sequence[Instance]:
        """Every instance that is not gone."""
        return [held.instance for held in self.ledger]

    def sweep(self) -> None:
        """End what does not answer, and what is idle though no allocator has it kept."""
        self.lifecycle.check()
        now_ms = wall_ms()
        self.ledger.expire_reports(now_ms - self.limits.report_ms, now_ms)
        for held in self.ledger.lost(now_ms - self.limits.claim_ms):  # one that crashed has gone
            self.lifecycle.end(held, "did not answer a request")
        allocated = now_ms - self._commanded_ms < self.limits.trust_ms
        known = self._catalog().constituents if allocated else {}
        for held in self.ledger.idle(now_ms, self.limits.keep_alive_ms):
            if held.instance.service not in known:  # an allocator decides on what it knows
                self.lifecycle.end(held, f"idle for {(now_ms - held.used_ms) / 1000:.1f} s")
        self.ledger.publish()
        self._freed.wake()

    def utilisation(self) -> Utilisation:
        """Return capacity and use of the pool, with the use of each instance measured anew."""
        now_ms = wall_ms()
        for held, measured in self.lifecycle.measure(now_ms).items():
            held.measured = measured
        return Utilisation(
            pool=self.pool, at_ms=now_ms, capacity=self._capacity(), used=self.ledger.used()
        )

    def republish(self) -> None:
        """Publish every record again."""
        self.ledger.publish(everything=True)

    def forget_gone(self, before_ms: int) -> Iterator[Instance]:
        """Yield and forget instances gone before a time: their records may be deleted."""
        return self.ledger.forget_gone(before_ms)

    async def close(self) -> None:
        """Stop starting instances, then release everything."""
        await self._starts.close()
        await self.lifecycle.close()

    def _capacity(self) -> Resources:
        nothing = Pool(pool=self.pool, capacity=Resources())
        return self.lifecycle.capacity(self._catalog().pools.get(self.pool, nothing).capacity)

    def _free(self) -> Resources:
        return self._capacity() - self.ledger.used()
