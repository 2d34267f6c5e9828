"""The instances of a pool and the resources they hold; the only place where states change. No I/O."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from streams.provisioners.core.interface import InstanceUse
from streams.records import Instance, InstanceState
from streams.records.catalog import Constituent, Resources
from streams.stages.admission import MOST_TEXT

__all__ = ["HeldInstance", "InstanceLedger"]

MOST = 2**53  # of a counter: a record holds it exactly


@dataclass(slots=True, kw_only=True, eq=False)
class HeldInstance:
    """An instance with the state that its provisioner alone keeps."""

    instance: Instance
    constituent: Constituent
    ready: asyncio.Future[Instance]
    used_ms: int  # last use: became warm, served, named by a command, or forked from
    base: HeldInstance | None = None  # the instance that it is forked from
    is_base: bool = False  # others are forked from it; it serves no requests
    expires_ms: int = 0  # the start is dropped after this, unless urgent
    urgent: bool = False  # a request waits for it
    start_begun: bool = False  # its start has left the queue
    waiters: int = 0  # requests that wait for the start
    in_flight: int = 0
    reported_ms: int = 0  # last report of use
    claimable: bool = False  # a gateway that has not heard of its end may still route to it
    lost_ms: int = 0  # since when a gateway routes nothing to it, whatever else is heard of it
    changed: bool = False  # its record is to be published again
    published: bool = False  # its first record is out
    end_reason: str = ""  # why it is being ended; empty while it is not
    measured: Resources = field(default_factory=Resources)

    @property
    def needs(self) -> Resources:
        """Resources counted against the pool: the larger of reserved and measured."""
        reserved, measured = self.constituent.needs, self.measured
        return Resources(
            cpu=max(reserved.cpu, measured.cpu),
            memory=max(reserved.memory, measured.memory),
            bandwidth=reserved.bandwidth,
        )

    @property
    def live(self) -> bool:
        """Whether it is warm or busy."""
        return self.instance.state in {InstanceState.WARM, InstanceState.BUSY}

    async def wait_until_warm(self) -> Instance:
        """Wait for its start; a request that gives up makes room for another to wait."""
        self.waiters += 1
        try:
            return await asyncio.shield(self.ready)
        except asyncio.CancelledError:
            self.waiters -= 1
            raise


class InstanceLedger:
    """The instances of a pool; every change of state goes through `change_state`.

    Changed by the event loop alone; other threads, such as that of a scrape, may iterate over it.
    """

    def __init__(self, pool: str, emit: Callable[[Instance], None]) -> None:
        self.pool = pool
        self._emit = emit
        self._held: dict[str, HeldInstance] = {}
        self._gone: deque[Instance] = deque()

    def __iter__(self) -> Iterator[HeldInstance]:
        return iter(list(self._held.values()))  # as it is now, whatever changes meanwhile

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
        is_base: bool = False,
    ) -> HeldInstance:
        """Reserve room for an instance that is going to be started."""
        name = f"{constituent.service}-{uuid.uuid4().hex[:12]}"
        held = HeldInstance(
            instance=Instance(
                instance_id=name,
                service=constituent.service,
                pool=self.pool,
                state=InstanceState.STARTING,
                endpoint="",
                command_id=command_id[:MOST_TEXT],
                started_ms=now_ms,
                changed_ms=now_ms,
                reason=reason[:MOST_TEXT],
            ),
            constituent=constituent,
            ready=asyncio.get_running_loop().create_future(),
            used_ms=now_ms,
            base=base,
            is_base=is_base,
        )
        self._held[name] = held
        return held

    def adopt(self, constituent: Constituent, instance: Instance, now_ms: int) -> HeldInstance:
        """Add an instance that an earlier provisioner started, and of which it has published.

        What was busy is taken to be so until a gateway says otherwise, or none says anything.
        """
        held = HeldInstance(
            instance=instance,
            constituent=constituent,
            ready=asyncio.get_running_loop().create_future(),
            used_ms=now_ms,
            start_begun=True,
            published=True,
            in_flight=int(instance.state is InstanceState.BUSY),
            reported_ms=now_ms,
        )
        held.ready.set_result(instance)
        self._held[instance.instance_id] = held
        return held

    def bury(self, known: Iterable[Instance], now_ms: int) -> None:
        """Publish that those of an earlier provisioner are gone which were not adopted."""
        for one in known:
            if one.instance_id not in self._held:
                gone = replace(
                    one,
                    state=InstanceState.GONE,
                    changed_ms=now_ms,
                    gone_ms=now_ms,
                    reason="its provisioner ended before it",
                )
                self._emit(gone)
                self._gone.append(gone)

    def rename(self, held: HeldInstance, name: str) -> None:
        """Change the id of an instance that is not published yet to the one it has where it runs."""
        del self._held[held.instance.instance_id]
        held.instance = replace(held.instance, instance_id=name)
        self._held[name] = held

    def change_state(
        self, held: HeldInstance, state: InstanceState, now_ms: int, **fields: Any
    ) -> None:
        """Change an instance's state and publish its record; a gone instance leaves the ledger."""
        held.instance = replace(held.instance, state=state, changed_ms=now_ms, **fields)
        if len(held.instance.reason) > MOST_TEXT:
            held.instance = replace(held.instance, reason=held.instance.reason[:MOST_TEXT])
        held.changed, held.published = False, True
        self._emit(held.instance)
        if state is InstanceState.GONE:
            self._held.pop(held.instance.instance_id, None)
            self._gone.append(held.instance)

    def discard(self, held: HeldInstance) -> None:
        """Release the room of an instance that was never started."""
        self._held.pop(held.instance.instance_id, None)

    def report_use(self, use: InstanceUse, now_ms: int) -> None:
        """Apply a report of use; the record is published by the next `publish`."""
        held = self._held.get(use.instance_id)
        if held is None or held.is_base or held.instance.state is InstanceState.STARTING:
            return  # a gateway sends no requests to these; its reports must not keep a base alive
        held.in_flight, held.reported_ms, held.used_ms = use.in_flight, now_ms, now_ms
        if use.claimable is not None:
            held.claimable = use.claimable
            held.lost_ms = 0 if use.claimable else held.lost_ms or now_ms
        state = held.instance.state
        if held.live:
            full = use.in_flight >= held.constituent.at_once
            state = InstanceState.BUSY if full else InstanceState.WARM
        was = held.instance
        held.instance = replace(
            was,
            state=state,
            changed_ms=was.changed_ms if state is was.state else now_ms,
            uses=min(was.uses + use.uses, MOST),
            busy_ms=min(was.busy_ms + use.busy_ms, MOST),
        )
        held.changed |= held.instance != was

    def expire_reports(self, before_ms: int, now_ms: int) -> None:
        """Take instances whose last report is older than this for idle."""
        for held in self:
            if held.in_flight and held.reported_ms < before_ms:
                self.report_use(
                    InstanceUse(instance_id=held.instance.instance_id, in_flight=0), now_ms
                )

    def record_fork(self, base: HeldInstance, now_ms: int) -> None:
        """Count a fork as a use of its base."""
        base.used_ms = now_ms
        base.instance = replace(base.instance, uses=base.instance.uses + 1)
        base.changed = True

    def usable_base(self, service: str) -> HeldInstance | None:
        """Return an instance of a base, warm or starting, that is not being ended."""
        for held in self:
            if held.is_base and held.instance.service == service and not held.end_reason:
                return held
        return None

    def publish(self, *, everything: bool = False) -> None:
        """Publish records changed by use; any number of uses between two calls makes one record."""
        for held in self:
            if held.published and (held.changed or everything):
                held.changed = False
                self._emit(held.instance)
        if everything:
            for instance in self._gone:
                self._emit(instance)

    def forget_gone(self, before_ms: int) -> Iterator[Instance]:
        """Yield and forget instances gone before a time: their records may be deleted."""
        while self._gone and (self._gone[0].gone_ms or 0) < before_ms:
            yield self._gone.popleft()

    def used(self) -> Resources:
        """Resources that all instances hold."""
        return sum((held.needs for held in self), Resources())

    def releasing(self) -> Resources:
        """Resources that ending instances are about to give back."""
        return sum((held.needs for held in self if held.end_reason), Resources())

    def idle(self, now_ms: int, grace_ms: int, service: str | None = None) -> list[HeldInstance]:
        """Instances idle for at least `grace_ms`, longest first, without bases that starts wait for."""
        awaited = {held.base for held in self if not held.ready.done()}
        idle = [
            held
            for held in self
            if held.instance.state is InstanceState.WARM
            and held.in_flight == 0
            and held not in awaited
            and not held.end_reason
            and now_ms - held.used_ms >= grace_ms
            and service in {None, held.instance.service}
        ]
        return sorted(idle, key=lambda held: held.used_ms)

    def lost(self, before_ms: int) -> list[HeldInstance]:
        """Instances that serve, but to which nothing has been routed since before this."""
        return [
            held
            for held in self
            if held.live and not held.end_reason and 0 < held.lost_ms < before_ms
        ]

    def joinable_start(self, service: str) -> HeldInstance | None:
        """Return the oldest start in progress that has capacity for one more waiting request."""
        for held in self:
            if (
                held.instance.service == service
                and held.instance.state is InstanceState.STARTING
                and not held.end_reason
                and not held.ready.done()  # as of a pod that was warm and is not ready now
                and held.waiters < held.constituent.at_once
            ):
                return held
        return None

    def warm_unknown_to(self, service: str, known: frozenset[str]) -> HeldInstance | None:
        """Return a warm instance that the requester does not know yet, and that answers."""
        for held in self:
            instance = held.instance
            if (
                instance.service == service
                and instance.state is InstanceState.WARM
                and not held.end_reason
                and not held.lost_ms
                and instance.instance_id not in known
            ):
                return held
        return None
