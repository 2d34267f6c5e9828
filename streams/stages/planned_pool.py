"""The simulated instances of a pool, and their form as plain values and as records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from streams.records import Instance, InstanceState

__all__ = [
    "PlannedInstance",
    "PlannedPool",
    "instance_record",
    "instances_of",
    "planned_form",
    "planned_of",
]


@dataclass(frozen=True, slots=True)
class PlannedInstance:
    """A simulated instance."""

    service: str
    command_id: str
    started_ms: int
    warm_since_ms: int


@dataclass(slots=True)
class PlannedPool:
    """Simulated instances of a pool, and the executed commands that have not expired."""

    now_ms: int = 0
    live: dict[str, PlannedInstance] = field(default_factory=dict)  # by instance id
    done: dict[str, int] = field(default_factory=dict)  # command id -> its expiry


def planned_form(pool: PlannedPool) -> list[Any]:
    """A pool as plain values, for its bytes."""
    live = {
        name: [p.service, p.command_id, p.started_ms, p.warm_since_ms]
        for name, p in pool.live.items()
    }
    return [pool.now_ms, live, pool.done]


def planned_of(form: Iterable[Any]) -> PlannedPool:
    """The pool of these plain values."""
    now_ms, live, done = form
    return PlannedPool(now_ms, {name: PlannedInstance(*p) for name, p in live.items()}, done)


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
        reason="planned",
    )
