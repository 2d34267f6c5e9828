"""A pool as it stands: demand, instances, commands under way, and the room that is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from streams.allocator.packing import Room
from streams.allocator.state import PoolRow
from streams.allocator.valuation.catalog_index import Anatomy, Asked
from streams.allocator.valuation.levels import Timing, timing_of
from streams.allocator.valuation.tail_probability import Floats
from streams.records import Demand, Instance, InstanceState
from streams.records.catalog import Pool, Resources
from streams.records.control import Mode

__all__ = ["SERVING", "PoolObservation", "PoolView", "more_of", "taken_by", "without_done"]

ON_REQUEST = "standard/"  # what a request started is not ours to end when we are off
SERVING = {InstanceState.STARTING, InstanceState.WARM, InstanceState.BUSY}


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """What is reported of a pool: its demand and its instances."""

    pool: Pool
    anatomy: Anatomy
    horizon_ms: int
    asked: Asked  # expected requests
    timing: Timing
    arrived: Mapping[str, int]  # command id -> instances seen of it, also those that are gone
    alive: Sequence[Instance]
    serving: Mapping[str, tuple[str, ...]]  # constituent -> instances that may serve, by id

    @classmethod
    def of(
        cls,
        pool: str,
        demands: Sequence[Demand],
        instances: Iterable[Instance],
        anatomy: Anatomy,
        *,
        serve_ms: float,
    ) -> PoolObservation:
        """Pick the instances of the pool, and add up the demand of all partitions."""
        here = [i for i in instances if i.pool == pool]
        alive = _alive(here)
        return cls(
            pool=anatomy.catalog.pools[pool],
            anatomy=anatomy,
            horizon_ms=max((d.horizon_ms for d in demands), default=0),
            asked=anatomy.asked(demands),
            timing=timing_of(anatomy, demands, _served_ms(here), serve_ms),
            arrived=Counter(i.command_id for i in here),
            alive=alive,
            serving=_serving(alive),
        )

    def having(self, instances: Iterable[Instance]) -> PoolObservation:
        """The same with other instances."""
        here = list(instances)
        arrived, alive = Counter(i.command_id for i in here), _alive(here)
        return replace(self, arrived=arrived, alive=alive, serving=_serving(alive))


@dataclass(frozen=True, slots=True)
class PoolView:
    """What a decision looks at."""

    pool: Pool
    anatomy: Anatomy
    now_ms: int
    horizon_ms: int
    timing: Timing
    asked: Asked  # expected requests, in a burst at least what came of late
    serving: Mapping[str, tuple[str, ...]]  # constituent -> instances that may serve, by id
    have: Mapping[str, int]  # constituent -> those, and what is under way
    idle: Mapping[str, int]  # constituent -> instances that may be released
    capacity: Resources
    room: Room
    leaving: float  # price by the hour of what is commanded to go and still there
    trust: Floats  # what the expected chance of each constituent is to be multiplied by

    @classmethod
    def of(cls, row: PoolRow, seen: PoolObservation) -> PoolView:
        """Put it together from what is remembered and what is reported."""
        anatomy = seen.anatomy
        coming, going = _coming(row, seen), _going(row, seen)
        idle = Counter(i.service for i in seen.alive if _idle(i, row))
        capacity = row.utilisation.capacity if row.utilisation else seen.pool.capacity
        reported = row.utilisation.used if row.utilisation else Resources()
        known, price = _taken(Counter(i.service for i in seen.alive), anatomy)
        added, further = _taken(coming, anatomy)
        return cls(
            pool=seen.pool,
            anatomy=anatomy,
            now_ms=row.now_ms,
            horizon_ms=seen.horizon_ms,
            timing=seen.timing,
            asked=row.watch.lift(seen.asked, anatomy, seen.horizon_ms),
            serving=seen.serving,
            have=_have(seen.serving, coming, going),
            idle={name: max(0, count - going[name]) for name, count in idle.items()},
            capacity=capacity,
            leaving=_taken(going, anatomy)[1],
            trust=row.watch.factors(anatomy),
            room=Room(
                capacity - more_of(known, reported) - added,
                _budget(seen.pool, row) - price - further,
            ),
        )


def without_done(row: PoolRow, seen: PoolObservation) -> PoolRow:
    """The row without commands that have expired or been seen to be done."""
    coming, going = _coming_by_command(row, seen), _going_by_command(row, seen)
    starting = {
        command: start
        for command, start in row.starting.items()
        if start.expires_ms > row.now_ms and coming[command] > 0
    }
    releasing = {
        command: release
        for command, release in row.releasing.items()
        if release.expires_ms > row.now_ms and going[command] > 0
    }
    if len(starting) == len(row.starting) and len(releasing) == len(row.releasing):
        return row
    return replace(row, starting=starting, releasing=releasing)


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


def _coming(row: PoolRow, seen: PoolObservation) -> Counter[str]:
    """Instances commanded and not seen yet, by constituent."""
    coming: Counter[str] = Counter()
    for command, count in _coming_by_command(row, seen).items():
        coming[row.starting[command].service] += count
    return coming


def _coming_by_command(row: PoolRow, seen: PoolObservation) -> dict[str, int]:
    return {c: start.count - seen.arrived.get(c, 0) for c, start in row.starting.items()}


def _going(row: PoolRow, seen: PoolObservation) -> Counter[str]:
    """Instances to be released that still serve, by constituent."""
    going: Counter[str] = Counter()
    for command, count in _going_by_command(row, seen).items():
        going[row.releasing[command].service] += count
    return going


def _going_by_command(row: PoolRow, seen: PoolObservation) -> dict[str, int]:
    return {
        command: release.count - len({*release.of} - {*seen.serving.get(release.service, ())})
        for command, release in row.releasing.items()
    }


def _alive(instances: Iterable[Instance]) -> list[Instance]:
    return [i for i in instances if i.state is not InstanceState.GONE]


def _serving(instances: Iterable[Instance]) -> dict[str, tuple[str, ...]]:
    return _ids(i for i in instances if i.state in SERVING)


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
