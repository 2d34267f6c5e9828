"""The rules of a pool, wherever its instances run: commands, room, the standard path."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
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
from streams.provisioners.core.start_queue import StartBackoff, StartQueue, WakeSignal
from streams.records import Action, Command, Instance, InstanceState, Utilisation
from streams.records.catalog import Catalog, Constituent, Pool, Resources
from streams.runtime.clock import wall_ms

__all__ = ["PoolProvisioner"]

L = TypeVar("L", bound=InstanceLifecycle)


class PoolProvisioner(Generic[L]):
    """Carries out the commands of one pool; satisfies `base.Provisioner`.

    Parameters
    ----------
    pool
        Name of the pool.
    catalog
        Gives the catalogue as it stands.
    emit
        Takes each new record of an instance; must not block.
    limits
        The bounds to keep.
    make
        What starts and ends instances, of ledger, limits, back-off and the pulse for freed room.
    """

    def __init__(
        self,
        pool: str,
        catalog: Callable[[], Catalog],
        emit: Callable[[Instance], None],
        limits: ProvisionerLimits,
        make: Callable[[InstanceLedger, ProvisionerLimits, StartBackoff, WakeSignal], L],
    ) -> None:
        self.pool = pool
        self.limits = limits
        self.ledger = InstanceLedger(pool, emit)
        self._emit = emit
        self._catalog = catalog
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._backoff = StartBackoff(limits.backoff_ms)
        self._waiting = 0
        self._freed = WakeSignal()
        self.lives = make(self.ledger, limits, self._backoff, self._freed)
        self._layers = BaseLayers(self.ledger, catalog, forks=self.lives.layered)

    async def open(self, known: Sequence[Instance] = ()) -> None:
        """Make ready, take over what still runs of `known`, and bury the rest."""
        for command_id in await self.lives.open(known):
            self._remember(command_id)
        living = {held.instance.instance_id for held in self.ledger}
        for instance in known:
            if instance.instance_id not in living:
                self._emit(_buried(instance, wall_ms()))
        self._starts = StartQueue(self.lives.start, self.limits.starts)

    # ------------------------------------------------------------------ commands

    async def carry_out(self, command: Command) -> str:
        """Do what a command says, once however often it comes; returns what came of it."""
        now_ms = wall_ms()
        if command.pool != self.pool:
            return "is for another pool"
        if command.command_id in self._seen:
            return "was carried out before"
        self._remember(command.command_id)
        if command.expires_ms <= now_ms:
            return f"expired {now_ms - command.expires_ms} ms ago"
        said = "waits with the allocator"
        match command.action:
            case Action.PROVISION:
                said = self._provision(command, now_ms)
            case Action.RELEASE:
                said = self._release(command, now_ms)
        self.lives.done(command)
        return said

    def _provision(self, command: Command, now_ms: int) -> str:
        constituent = self._catalog().constituents.get(command.service)
        if constituent is None:
            return f"names a constituent that is not in the catalogue: {command.service}"
        if failed := self._paused(constituent, now_ms):
            return f"waits: the last start of {failed} failed"
        for held in self.ledger:
            if held.instance.service == command.service:
                held.used_ms = max(held.used_ms, now_ms)  # commanded: of use still
        count = command.count
        if self._layers.lends(command.service):  # one is enough
            count = 0 if self.ledger.lender(command.service) else 1
        started = 0
        while started < count and self._layers.needs(constituent).fits(self._free()):
            self._reserve(constituent, command.command_id, command.reason, command.expires_ms)
            started += 1
        return f"starts {started} of {command.count} {command.service}"

    def _paused(self, constituent: Constituent, now_ms: int) -> str:
        """Which of what would have to start is not to be tried again yet."""
        missing = self._layers.missing(constituent)
        services = [constituent.service, *([missing.service] if missing else [])]
        return next((x for x in services if self._backoff.until(x) > now_ms), "")

    def _reserve(
        self, constituent: Constituent, command_id: str, reason: str, expires_ms: int = 0
    ) -> HeldInstance:
        """Take room for an instance, and for its base where there is none, and queue the starts.

        What never expires a request waits for.
        """
        if missing := self._layers.missing(constituent):
            why = f"{constituent.service} starts from it"
            self._reserve(missing, command_id, why, expires_ms)
        held = self.ledger.add(
            constituent,
            command_id,
            wall_ms(),
            reason,
            base=self._layers.lender(constituent),
            lends=self._layers.lends(constituent.service),
        )
        held.expires_ms, held.urgent = expires_ms, not expires_ms
        self._starts.put(held)
        if held.base is not None:
            held.base.expires_ms = max(held.base.expires_ms, expires_ms)
            if held.urgent:
                self._starts.hurry(held.base)
        return held

    def _release(self, command: Command, now_ms: int) -> str:
        idle = self.ledger.idle(now_ms, self.limits.grace_ms, command.service)[: command.count]
        for held in idle:
            self.lives.end(held, f"released: {command.reason}")
        return f"ends {len(idle)} of {command.count} {command.service}"

    def _remember(self, command_id: str) -> None:
        self._seen[command_id] = None
        if len(self._seen) > self.limits.remembered:
            self._seen.popitem(last=False)

    # ------------------------------------------------------------------ standard path

    async def standard(self, want: InstanceRequest) -> Instance:
        """A warm instance for a waiting request: see `base.Provisioner.standard`."""
        constituent = self._catalog().constituents.get(want.service)
        if constituent is None:
            raise StandardPathRefused(f"{want.service} is not in the catalogue", known=False)
        if want.service in self._catalog().bases:
            raise StandardPathRefused(
                f"{want.service} serves no requests: others start from it", known=False
            )
        try:
            async with asyncio.timeout(max(0.0, (want.deadline_ms - wall_ms()) / 1000)):
                held = self._found(want) or await self._make(constituent, want)
                if held.ready.done():
                    held.used_ms = wall_ms()
                    return held.instance
                self._starts.hurry(held)
                return await _joined(held)
        except TimeoutError:
            raise StandardPathRefused(f"no instance of {want.service} was ready in time") from None
        except StartFailed as error:
            raise StandardPathRefused(
                f"{want.service} did not start: {error}", retry_after_s=2
            ) from None

    def _found(self, want: InstanceRequest) -> HeldInstance | None:
        """One that is free, or a start that one more may wait for."""
        free = self.ledger.unknown_to(want.service, want.known)
        return free or self.ledger.coming(want.service)

    async def _make(self, constituent: Constituent, want: InstanceRequest) -> HeldInstance:
        """Reserve an instance for a request, at the cost of idle ones when the pool is full."""
        if self._waiting >= self.limits.waiting:
            raise StandardPathRefused(
                f"{self._waiting} requests wait already for room in pool {self.pool}"
            )
        if not self._layers.most(constituent).fits(self._capacity()):
            raise StandardPathRefused(
                f"{want.service} needs more than pool {self.pool} has", retry_after_s=60
            )
        self._waiting += 1
        try:
            while not (needs := self._layers.needs(constituent)).fits(self._free()):
                self._make_room(needs, spared=self._layers.lender(constituent))
                # One that is idle only just now may give way a moment later.
                await self._freed.wait(self.limits.grace_ms / 1000)
        finally:
            self._waiting -= 1
        cause = f"standard/{want.request_id}"
        return self._reserve(constituent, cause, "a request waits for it")

    def _make_room(self, needs: Resources, spared: HeldInstance | None) -> None:
        """Let idle instances give way, but no faster than others can be started.

        Under overload nothing would live long enough to be used twice, if each request that
        waits took an idle instance's room long before its own start has its turn.
        """
        turning = sum(held.urgent and not held.ready.done() for held in self.ledger)
        if turning >= self.limits.starts:
            return
        for held in self.ledger.idle(wall_ms(), self.limits.grace_ms):
            if needs.fits(self._free() + self.ledger.returning()):
                return
            if held is not spared:
                self.lives.end(held, "gave way to a request")

    # ------------------------------------------------------------------ what others ask

    def use(self, uses: Iterable[InstanceUse]) -> None:
        """Note which instances serve requests, so that busy ones are not ended."""
        now_ms = wall_ms()
        for use in uses:
            self.ledger.report(use, now_ms)
        self._freed.now()  # one may be idle now, and give way

    def instances(self) -> Sequence[Instance]:
        """Every instance that is not gone."""
        return [held.instance for held in self.ledger]

    def sweep(self) -> None:
        """End what is idle for too long, and doubt reports of use that are too old."""
        now_ms = wall_ms()
        for held in self.ledger:
            if held.in_flight and now_ms - held.heard_ms > self.limits.report_ms:
                self.ledger.report(
                    InstanceUse(instance_id=held.instance.instance_id, in_flight=0), now_ms
                )
        for held in self.ledger.idle(now_ms, self.limits.keep_alive_ms):
            self.lives.end(held, f"idle for {(now_ms - held.used_ms) / 1000:.1f} s")
        self.ledger.publish()
        self._freed.now()

    def utilisation(self) -> Utilisation:
        """Capacity and use of the pool, measured on the processes as they are."""
        now_ms = wall_ms()
        self.lives.measure(now_ms)
        return Utilisation(
            pool=self.pool, at_ms=now_ms, capacity=self._capacity(), used=self.ledger.used()
        )

    def republish(self) -> None:
        """Publish every record again."""
        self.ledger.publish(everything=True)

    def forgotten(self, before_ms: int) -> Iterator[Instance]:
        """Those gone before a time, each once: their records need not be kept any longer."""
        return self.ledger.forgotten(before_ms)

    async def close(self) -> None:
        """Start nothing any more, and let go of all."""
        await self._starts.close()
        await self.lives.close()

    def _capacity(self) -> Resources:
        nothing = Pool(pool=self.pool, capacity=Resources())
        return self.lives.capacity(self._catalog().pools.get(self.pool, nothing).capacity)

    def _free(self) -> Resources:
        return self._capacity() - self.ledger.used()


async def _joined(held: HeldInstance) -> Instance:
    """Wait for a start; who gives up leaves the place to another."""
    held.joined += 1
    try:
        return await asyncio.shield(held.ready)
    except asyncio.CancelledError:
        held.joined -= 1
        raise


def _buried(instance: Instance, now_ms: int) -> Instance:
    return replace(
        instance,
        state=InstanceState.GONE,
        changed_ms=now_ms,
        gone_ms=now_ms,
        reason="its provisioner ended before it",
    )
