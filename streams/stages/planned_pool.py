"""The simulated instances of a pool, and their form as plain values and as records."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from streams.records import Instance, InstanceState
from streams.records.catalog import Catalog, Resources
from streams.stages.base import MAX_MS

__all__ = [
    "PlannedInstance",
    "PlannedPool",
    "gives_way",
    "instance_record",
    "instances_of",
    "planned_form",
    "planned_of",
    "start_needs",
]

GRACE_MS = 100  # an instance used so recently does not give way, as at a provisioner
MOST_AT_ONCE = 1_000  # an instance that serves more requests at once is never busy


@dataclass(frozen=True, slots=True)
class PlannedInstance:
    """A simulated instance."""

    service: str
    command_id: str
    started_ms: int
    warm_since_ms: int
    busy_until_ms: int = 0  # until then it serves as many requests as it may
    ends_ms: tuple[int, ...] = ()  # of the requests that it serves, or served last, in order
    uses: int = 0
    busy_ms: int = 0

    @property
    def free_from_ms(self) -> int:
        """From when it could serve one more request."""
        return max(self.warm_since_ms, self.busy_until_ms)

    @property
    def serves_until_ms(self) -> int:
        """When it has served all requests that it has."""
        return self.ends_ms[-1] if self.ends_ms else 0

    @property
    def idle_since_ms(self) -> int:
        """Since when it has served nothing, if it does not serve now."""
        return max(self.warm_since_ms, self.serves_until_ms)

    def serving(self, at_ms: int, serve_ms: int, concurrency: int) -> PlannedInstance:
        """The instance when one more request has come, which waits until it is free.

        One that it serves for no time, since its log does not say how long, is no use that counts.
        """
        since_ms = max(at_ms, self.free_from_ms)
        others = [end_ms for end_ms in self.ends_ms if end_ms > since_ms]
        end_ms = min(since_ms + serve_ms, MAX_MS)
        if concurrency > MOST_AT_ONCE:
            others, end_ms = [], max(end_ms, self.serves_until_ms)
        ends_ms = sorted([*others, end_ms])
        return replace(
            self,
            busy_until_ms=(
                ends_ms[-concurrency] if len(ends_ms) >= concurrency else self.busy_until_ms
            ),
            ends_ms=tuple(ends_ms),
            uses=self.uses + (serve_ms > 0),
            busy_ms=min(self.busy_ms + serve_ms, MAX_MS),
        )


@dataclass(slots=True)
class PlannedPool:
    """Simulated instances of a pool, and the executed commands that have not expired."""

    now_ms: int = 0
    live: dict[str, PlannedInstance] = field(default_factory=dict)  # by instance id
    done: dict[str, int] = field(default_factory=dict)  # command id -> its expiry


def gives_way(idle_since_ms: int, at_ms: int) -> bool:
    """Whether what is idle for so long is ended for a request that needs the room."""
    return idle_since_ms + GRACE_MS <= at_ms


def start_needs(name: str, catalog: Catalog, there: Container[str]) -> Resources:
    """What a start of a constituent needs, with its base unless that is there."""
    base = catalog.constituents[name].base
    return catalog.needs_of([name] if base in there else [name, base])


def planned_form(pool: PlannedPool) -> list[Any]:
    """A pool as plain values, for its bytes."""
    live = {
        name: [p.service, p.command_id, p.started_ms, p.warm_since_ms, *_served_form(p)]
        for name, p in pool.live.items()
    }
    return [pool.now_ms, live, pool.done]


def planned_of(form: Iterable[Any]) -> PlannedPool:
    """The pool of these plain values."""
    now_ms, live, done = form
    return PlannedPool(now_ms, {name: _instance_of(*p) for name, p in live.items()}, done)


def _served_form(planned: PlannedInstance) -> list[Any]:
    served = [planned.busy_until_ms, list(planned.ends_ms), planned.uses, planned.busy_ms]
    return served if planned.ends_ms else []


def _instance_of(service: str, command_id: str, *numbers: Any) -> PlannedInstance:
    started_ms, warm_since_ms, *served = numbers
    if served:
        busy_until_ms, ends_ms, *sums = served
        served = [busy_until_ms, tuple(ends_ms), *sums]
    return PlannedInstance(service, command_id, started_ms, warm_since_ms, *served)


def instances_of(name: str, pool: PlannedPool) -> Iterator[Instance]:
    """The simulated instances as records."""
    for instance_id, planned in pool.live.items():
        yield instance_record(instance_id, name, planned)


def instance_record(name: str, pool: str, planned: PlannedInstance) -> Instance:
    """A simulated instance as a record."""
    return Instance(
        instance_id=name,
        service=planned.service,
        pool=pool,
        state=InstanceState.WARM,
        endpoint="",
        command_id=planned.command_id,
        started_ms=planned.started_ms,
        changed_ms=planned.warm_since_ms,
        warm_since_ms=planned.warm_since_ms,
        uses=planned.uses,
        busy_ms=planned.busy_ms,
        reason="planned",
        busy_until_ms=planned.busy_until_ms,
        serves_until_ms=planned.serves_until_ms,
    )
