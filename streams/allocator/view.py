"""A pool as it stands: demand, instances, commands under way, and the room that is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.allocator.packing import Room
from streams.allocator.state import PoolRow
from streams.allocator.valuation.catalog_index import Anatomy, Asked
from streams.allocator.valuation.levels import Timing, timing_of
from streams.allocator.valuation.tail_probability import Floats
from streams.records import Demand, Instance, InstanceState
from streams.records.catalog import Pool, Resources
from streams.records.control import Mode
from streams.stages.base import Context

__all__ = ["SERVING", "PoolView", "more_of", "taken_by"]

ON_REQUEST = "standard/"  # what a request started is not ours to end when we are off
SERVING = {InstanceState.STARTING, InstanceState.WARM, InstanceState.BUSY}


@dataclass(frozen=True, slots=True)
class PoolView:
    """What a decision looks at."""

    pool: Pool
    anatomy: Anatomy
    now_ms: int
    horizon_ms: int
    timing: Timing
    asked: Asked  # expected requests
    serving: Mapping[str, tuple[str, ...]]  # constituent -> instances that may serve, by id
    have: Mapping[str, int]  # constituent -> those, and what is under way
    idle: Mapping[str, int]  # constituent -> instances that may be released
    capacity: Resources
    room: Room
    leaving: float  # price by the hour of what is commanded to go and still there
    trust: Floats  # what the expected chance of each constituent is to be multiplied by

    @classmethod
    def of(
        cls,
        pool: str,
        row: PoolRow,
        demands: Sequence[Demand],
        context: Context,
        *,
        serve_ms: float,
        anatomy: Anatomy,
    ) -> PoolView:
        """Put it together; commands that have been seen to be done leave the row."""
        entry = anatomy.catalog.pools[pool]
        here = [i for i in context.instances.values() if i.pool == pool]
        alive = [i for i in here if i.state is not InstanceState.GONE]
        serving = _ids(i for i in alive if i.state in SERVING)
        coming, going = _coming(row, here), _going(row, serving)
        idle = Counter(i.service for i in alive if _idle(i, row))
        horizon_ms = max((d.horizon_ms for d in demands), default=0)
        capacity = row.utilisation.capacity if row.utilisation else entry.capacity
        reported = row.utilisation.used if row.utilisation else Resources()
        known, price = _taken(Counter(i.service for i in alive), anatomy)
        added, further = _taken(coming, anatomy)
        return cls(
            pool=entry,
            anatomy=anatomy,
            now_ms=row.now_ms,
            horizon_ms=horizon_ms,
            timing=timing_of(anatomy, demands, _served_ms(here), serve_ms),
            asked=row.watch.lift(anatomy.asked(demands), anatomy, row.now_ms, horizon_ms),
            serving=serving,
            have=_have(serving, coming, going),
            idle={name: max(0, count - going[name]) for name, count in idle.items()},
            capacity=capacity,
            leaving=_taken(going, anatomy)[1],
            trust=row.watch.factors(anatomy),
            room=Room(
                capacity - more_of(known, reported) - added, _budget(entry, row) - price - further
            ),
        )


def _have(
    serving: Mapping[str, tuple[str, ...]], coming: Counter[str], going: Counter[str]
) -> dict[str, int]:
    return {
        name: max(0, len(serving.get(name, ())) + coming[name] - going[name])
        for name in serving.keys() | coming.keys()
    }


def _budget(pool: Pool, row: PoolRow) -> float:
    """What instances may cost in an hour: an operator's word can only lower it."""
    said = row.control.budget if row.control else None
    return pool.budget if said is None else min(pool.budget, said)


def _coming(row: PoolRow, here: Iterable[Instance]) -> Counter[str]:
    """Instances commanded and not seen yet; commands that are done or expired leave the row."""
    seen = Counter(i.command_id for i in here)
    row.starting = {
        command: start
        for command, start in row.starting.items()
        if start.expires_ms > row.now_ms and start.count > seen[command]
    }
    coming: Counter[str] = Counter()
    for command, start in row.starting.items():
        coming[start.service] += start.count - seen[command]
    return coming


def _going(row: PoolRow, serving: Mapping[str, tuple[str, ...]]) -> Counter[str]:
    """Instances to be released that still serve; commands done or expired leave the row."""
    left = {
        command: release.count - len({*release.of} - {*serving.get(release.service, ())})
        for command, release in row.releasing.items()
        if release.expires_ms > row.now_ms
    }
    going: Counter[str] = Counter()
    for command, count in left.items():
        going[row.releasing[command].service] += max(0, count)
    row.releasing = {c: r for c, r in row.releasing.items() if left.get(c, 0) > 0}
    return going


def _ids(instances: Iterable[Instance]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for instance in instances:
        found.setdefault(instance.service, []).append(instance.instance_id)
    return {service: tuple(sorted(ids)) for service, ids in found.items()}


def _idle(instance: Instance, row: PoolRow) -> bool:
    if instance.state is not InstanceState.WARM or not instance.warm_at(row.now_ms):
        return False
    off = row.control is not None and row.control.mode is Mode.OFF
    return not (off and instance.command_id.startswith(ON_REQUEST))


def _served_ms(instances: Iterable[Instance]) -> dict[str, float]:
    """Mean time to serve, per constituent that has served."""
    busy: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for instance in instances:
        busy[instance.service] += instance.busy_ms
        uses[instance.service] += instance.uses
    return {name: busy[name] / count for name, count in uses.items() if count and busy[name]}


def taken_by(services: Iterable[str], anatomy: Anatomy) -> Resources:
    """What one instance each of these constituents takes."""
    return _taken(Counter(services), anatomy)[0]


def _taken(counts: Mapping[str, int], anatomy: Anatomy) -> tuple[Resources, float]:
    """Resources and price by the hour of so many instances."""
    cpu = memory = bandwidth = price = 0.0
    for name, count in sorted(counts.items()):  # a sum depends on its order
        constituent = anatomy.catalog.constituents.get(name)
        if constituent:
            cpu += constituent.needs.cpu * count
            memory += constituent.needs.memory * count
            bandwidth += constituent.needs.bandwidth * count
            price += constituent.price * count
    return Resources(cpu=cpu, memory=memory, bandwidth=bandwidth), price


def more_of(one: Resources, other: Resources) -> Resources:
    """The larger amount of each."""
    return Resources(
        cpu=max(one.cpu, other.cpu),
        memory=max(one.memory, other.memory),
        bandwidth=max(one.bandwidth, other.bandwidth),
    )
