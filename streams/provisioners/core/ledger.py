"""Who holds what of a pool: book-keeping without I/O, and the one place where states change."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from streams.provisioners.core.interface import InstanceUse
from streams.records import Instance, InstanceState
from streams.records.catalog import Constituent, Resources

__all__ = ["HeldInstance", "InstanceLedger"]


@dataclass(slots=True, kw_only=True, eq=False)
class HeldInstance:
    """An instance and what only its provisioner knows of it."""

    instance: Instance
    constituent: Constituent
    ready: asyncio.Future[Instance]
    used_ms: int  # last of use: warm, served, commanded or forked from
    base: HeldInstance | None = None  # what its start forks it from
    lends: bool = False  # it is such a base, and serves no requests
    expires_ms: int = 0  # not to be started after this, unless urgent
    urgent: bool = False  # a request waits for it
    begun: bool = False  # its start has its turn
    joined: int = 0  # requests that wait for it
    in_flight: int = 0
    heard_ms: int = 0  # last report of use
    claimable: bool = False  # a gateway may give it to a request, not having heard that it ends
    changed: bool = False  # its record is to be published again
    told: bool = False  # its record is out
    ending: str = ""  # why it is being ended
    measured: Resources = field(default_factory=Resources)

    @property
    def needs(self) -> Resources:
        """What it takes of the pool: reserved, or measured where that is more."""
        reserved, measured = self.constituent.needs, self.measured
        return Resources(
            cpu=max(reserved.cpu, measured.cpu),
            memory=max(reserved.memory, measured.memory),
            bandwidth=reserved.bandwidth,
        )

    @property
    def live(self) -> bool:
        """Whether it has been started and may serve."""
        return self.instance.state in {InstanceState.WARM, InstanceState.BUSY}


class InstanceLedger:
    """The instances of a pool; every change of state goes through `enter`."""

    def __init__(self, pool: str, emit: Callable[[Instance], None]) -> None:
        self.pool = pool
        self._emit = emit
        self._held: dict[str, HeldInstance] = {}
        self._gone: deque[Instance] = deque()

    def __iter__(self) -> Iterator[HeldInstance]:
        return iter(self._held.values())

    def __len__(self) -> int:
        return len(self._held)

    def add(
        self,
        constituent: Constituent,
        command_id: str,
        now_ms: int,
        reason: str,
        *,
        base: HeldInstance | None = None,
        lends: bool = False,
    ) -> HeldInstance:
        """Reserve room for an instance that will be started."""
        name = f"{constituent.service}-{uuid.uuid4().hex[:12]}"
        held = HeldInstance(
            instance=Instance(
                instance_id=name,
                service=constituent.service,
                pool=self.pool,
                state=InstanceState.STARTING,
                endpoint="",
                command_id=command_id,
                started_ms=now_ms,
                changed_ms=now_ms,
                reason=reason,
            ),
            constituent=constituent,
            ready=asyncio.get_running_loop().create_future(),
            used_ms=now_ms,
            base=base,
            lends=lends,
        )
        self._held[name] = held
        return held

    def adopt(self, constituent: Constituent, instance: Instance, now_ms: int) -> HeldInstance:
        """Take over an instance that is warm already, of an earlier life."""
        held = HeldInstance(
            instance=instance,
            constituent=constituent,
            ready=asyncio.get_running_loop().create_future(),
            used_ms=now_ms,
            begun=True,
        )
        held.ready.set_result(instance)
        self._held[instance.instance_id] = held
        return held

    def rename(self, held: HeldInstance, name: str) -> None:
        """Give an instance, before its first record, the name that it has where it runs."""
        del self._held[held.instance.instance_id]
        held.instance = replace(held.instance, instance_id=name)
        self._held[name] = held

    def enter(self, held: HeldInstance, state: InstanceState, now_ms: int, **news: Any) -> None:
        """Change an instance's state and publish it; what is gone leaves the ledger."""
        held.instance = replace(held.instance, state=state, changed_ms=now_ms, **news)
        held.changed, held.told = False, True
        self._emit(held.instance)
        if state is InstanceState.GONE:
            self._held.pop(held.instance.instance_id, None)
            self._gone.append(held.instance)

    def drop(self, held: HeldInstance) -> None:
        """Give up room that was reserved for an instance never started."""
        self._held.pop(held.instance.instance_id, None)

    def report(self, use: InstanceUse, now_ms: int) -> None:
        """Take news of use in; the record follows with the next `publish`."""
        held = self._held.get(use.instance_id)
        if held is None or held.lends or held.instance.state is InstanceState.STARTING:
            return  # of a base a gateway knows nothing but that it is there
        held.in_flight, held.heard_ms, held.used_ms = use.in_flight, now_ms, now_ms
        if use.claimable is not None:
            held.claimable = use.claimable
        state = held.instance.state
        if held.live:
            full = use.in_flight >= held.constituent.concurrency
            state = InstanceState.BUSY if full else InstanceState.WARM
        was = held.instance
        held.instance = replace(
            was,
            state=state,
            changed_ms=was.changed_ms if state is was.state else now_ms,
            uses=was.uses + use.uses,
            busy_ms=was.busy_ms + use.busy_ms,
        )
        held.changed |= held.instance != was

    def lent(self, base: HeldInstance, now_ms: int) -> None:
        """Note that an instance was forked: to a base that is use."""
        base.used_ms = now_ms
        base.instance = replace(base.instance, uses=base.instance.uses + 1)
        base.changed = True

    def lender(self, service: str) -> HeldInstance | None:
        """The base that a start may wait for, or fork from now."""
        for held in self:
            if held.lends and held.instance.service == service and not held.ending:
                return held
        return None

    def publish(self, *, everything: bool = False) -> None:
        """Publish what changed by use; many uses between two calls make one record."""
        for held in self:
            if held.told and (held.changed or everything):
                held.changed = False
                self._emit(held.instance)
        if everything:
            for instance in self._gone:
                self._emit(instance)

    def forgotten(self, before_ms: int) -> Iterator[Instance]:
        """Those gone before a time, each once: their records need not be kept any longer."""
        while self._gone and (self._gone[0].gone_ms or 0) < before_ms:
            yield self._gone.popleft()

    def used(self) -> Resources:
        """What all instances take."""
        return sum((held.needs for held in self), Resources())

    def returning(self) -> Resources:
        """What those that are ending will give back."""
        return sum((held.needs for held in self if held.ending), Resources())

    def idle(self, now_ms: int, grace_ms: int, service: str | None = None) -> list[HeldInstance]:
        """Those free for `grace_ms`, the longest idle first; a base with starts to come is not."""
        needed = {held.base for held in self if not held.ready.done()}
        found = [
            held
            for held in self
            if held.instance.state is InstanceState.WARM
            and held.in_flight == 0
            and held not in needed
            and not held.ending
            and now_ms - held.used_ms >= grace_ms
            and service in {None, held.instance.service}
        ]
        return sorted(found, key=lambda held: held.used_ms)

    def coming(self, service: str) -> HeldInstance | None:
        """A start in progress, the oldest, that one more request may wait for."""
        for held in self:
            if (
                held.instance.service == service
                and held.instance.state is InstanceState.STARTING
                and not held.ending
                and held.joined < held.constituent.concurrency
            ):
                return held
        return None

    def unknown_to(self, service: str, known: frozenset[str]) -> HeldInstance | None:
        """A free instance that the asker has not heard of yet."""
        for held in self:
            instance = held.instance
            if (
                instance.service == service
                and instance.state is InstanceState.WARM
                and not held.ending
                and instance.instance_id not in known
            ):
                return held
        return None
