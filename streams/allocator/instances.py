"""The instances of a pool, counted once for all decisions until one of them changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.records import Instance, InstanceState
from streams.records.catalog import Resources
from streams.records.instances import ON_REQUEST

__all__ = ["SERVING", "PoolInstances", "taken_by"]

FOR_EVER_MS = 2**62
SERVING = {InstanceState.STARTING, InstanceState.WARM, InstanceState.BUSY}


@dataclass(frozen=True, slots=True, eq=False)
class PoolInstances:
    """The instances of a pool; arrays are over the constituents of a catalogue.

    Attributes
    ----------
    alive
        All but those that have ended.
    arrived
        By command id: instances that it has produced, those that have ended included.
    serving
        By constituent: ids of the instances that can serve.
    serve_ms
        By constituent that has served a request: mean service time.
    have
        Number of instances that can serve.
    idle_from_ms
        Since or from when each of those alive is warm and serves nobody, in order.
    free, free_since_ms, free_on_request
        Of each free instance: its constituent, since when it serves nobody, and whether a request
        started it.
    used, used_from_ms, used_until_ms
        Of each that serves, has served or will: its constituent, and when it serves.
    taken, price
        What those alive take of the pool, and what they cost an hour.
    """

    alive: Sequence[Instance]
    arrived: Mapping[str, int]
    serving: Mapping[str, tuple[str, ...]]
    serve_ms: Mapping[str, float]
    have: Numbers
    idle_from_ms: Numbers
    free: Numbers
    free_since_ms: Numbers
    free_on_request: NDArray[np.bool_]
    used: Numbers
    used_from_ms: Numbers
    used_until_ms: Numbers
    taken: Resources
    price: float

    def next_ms(self, now_ms: int) -> int:
        """When the next one becomes idle; 0 if none is known to."""
        later = self.idle_from_ms[self.idle_from_ms.searchsorted(now_ms, "right") :]
        return int(later[0]) if later.size else 0

    def busy(self, now_ms: int, constituents: int) -> Numbers:
        """How many of each constituent serve at a time."""
        now = (self.used_from_ms <= now_ms) & (now_ms < self.used_until_ms)
        return np.bincount(self.used[now], minlength=constituents)

    @classmethod
    def of(cls, instances: Iterable[Instance], index: CatalogIndex) -> PoolInstances:
        """Count these instances of one pool."""
        here = list(instances)
        alive = [i for i in here if i.state is not InstanceState.GONE]
        serving = _serving(alive)
        free = [i for i in alive if _is_free(i) and i.service in index.number]
        used = [i for i in alive if _serves_until_ms(i) and i.service in index.number]
        taken, price = taken_by(Counter(i.service for i in alive), index)
        return cls(
            alive=alive,
            arrived=Counter(i.command_id for i in here),
            serving=serving,
            serve_ms=_serve_ms(here),
            have=index.counts({service: len(ids) for service, ids in serving.items()}),
            idle_from_ms=np.sort(np.array([_idle_from_ms(i) for i in alive], np.int64)),
            free=np.array([index.number[i.service] for i in free], np.int64),
            free_since_ms=np.array([_idle_from_ms(i) for i in free], np.int64),
            free_on_request=np.array([i.command_id.startswith(ON_REQUEST) for i in free], np.bool_),
            used=np.array([index.number[i.service] for i in used], np.int64),
            used_from_ms=np.array([i.warm_since_ms or 0 for i in used], np.int64),
            used_until_ms=np.array([_serves_until_ms(i) for i in used], np.int64),
            taken=taken,
            price=price,
        )


def taken_by(counts: Mapping[str, int], index: CatalogIndex) -> tuple[Resources, float]:
    """Resources and hourly price of this many instances per constituent."""
    cpu = memory = bandwidth = price = 0.0
    for name, count in sorted(counts.items()):  # a sum depends on its order
        constituent = index.catalog.constituents.get(name)
        if constituent:
            cpu += constituent.needs.cpu * count
            memory += constituent.needs.memory * count
            bandwidth += constituent.needs.bandwidth * count
            price += constituent.price * count
    return Resources(cpu=cpu, memory=memory, bandwidth=bandwidth), price


def _serving(instances: Iterable[Instance]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for instance in instances:
        if instance.state in SERVING:
            found.setdefault(instance.service, []).append(instance.instance_id)
    return {service: tuple(sorted(ids)) for service, ids in found.items()}


def _is_free(instance: Instance) -> bool:
    return instance.state is InstanceState.WARM and instance.warm_since_ms is not None


def _idle_from_ms(instance: Instance) -> int:
    return max(instance.warm_since_ms or 0, instance.serves_until_ms)


def _serves_until_ms(instance: Instance) -> int:
    """Until when it serves as far as is known; 0 for one that does not."""
    return FOR_EVER_MS if instance.state is InstanceState.BUSY else instance.serves_until_ms


def _serve_ms(instances: Iterable[Instance]) -> dict[str, float]:
    """Mean service time per constituent that has served a request."""
    busy: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for instance in instances:
        if instance.uses:
            busy[instance.service] += instance.busy_ms
            uses[instance.service] += instance.uses
    return {name: busy[name] / count for name, count in uses.items() if busy[name]}
