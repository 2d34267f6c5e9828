"""The view that a decision is based on: demand, instances, commands under way, free capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from streams.allocator.packing import PoolRoom
from streams.allocator.state import PoolState
from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.levels import ConstituentTiming, timing_of
from streams.allocator.valuation.occupancy import Floats
from streams.records import Demand, Instance, InstanceState
from streams.records.catalog import Pool, Resources
from streams.records.control import Mode
from streams.records.instances import ON_REQUEST

__all__ = ["SERVING", "PoolObservation", "PoolView", "more_of", "taken_by", "without_done"]

SERVING = {InstanceState.STARTING, InstanceState.WARM, InstanceState.BUSY}


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """Input of a decision that comes from outside: the pool's demand and instances."""

    pool: Pool
    index: CatalogIndex
    horizon_ms: int
    asked: Floats  # sum over all partitions, not corrected for bursts
    timing: ConstituentTiming
    arrived: Mapping[str, int]  # command id -> instances it has produced, gone ones included
    alive: Sequence[Instance]
    serving: Mapping[str, tuple[str, ...]]  # constituent -> ids of instances that can serve

    @classmethod
    def of(
        cls,
        pool: str,
        demands: Sequence[Demand],
        instances: Iterable[Instance],
        index: CatalogIndex,
        *,
        serve_ms: float,
    ) -> PoolObservation:
        """Select the pool's instances and sum the demand of all partitions."""
        here = [i for i in instances if i.pool == pool]
        alive = _alive(here)
        return cls(
            pool=index.catalog.pools[pool],
            index=index,
            horizon_ms=max((d.horizon_ms for d in demands), default=0),
            asked=index.asked(demands),
            timing=timing_of(index, demands, _served_ms(here), serve_ms),
            arrived=Counter(i.command_id for i in here),
            alive=alive,
            serving=_serving(alive),
        )

    def having(self, instances: Iterable[Instance]) -> PoolObservation:
        """A copy with other instances; demand and timing are shared."""
        here = list(instances)
        arrived, alive = Counter(i.command_id for i in here), _alive(here)
        return replace(self, arrived=arrived, alive=alive, serving=_serving(alive))


@dataclass(frozen=True, slots=True)
class PoolView:
    """Everything that a decision reads besides the state of the pool."""

    pool: Pool
    index: CatalogIndex
    now_ms: int
    horizon_ms: int
    timing: ConstituentTiming
    asked: Floats  # during a burst at least the recent rate
    serving: Mapping[str, tuple[str, ...]]  # constituent -> ids of instances that can serve
    have: Mapping[str, int]  # constituent -> those that can serve and those under way
    idle: Mapping[str, int]  # constituent -> instances that may be released
    capacity: Resources
    room: PoolRoom
    leaving: float  # hourly price of instances with a pending release

    @classmethod
    def of(cls, state: PoolState, seen: PoolObservation) -> PoolView:
        """Build the view; `state` has no finished commands any more (see `without_done`)."""
        index = seen.index
        coming, going = _coming(state, seen), _going(state, seen)
        idle = Counter(i.service for i in seen.alive if _idle(i, state))
        for base in _started_from(state, seen, coming):
            del idle[base]
        capacity = state.utilisation.capacity if state.utilisation else seen.pool.capacity
        reported = state.utilisation.used if state.utilisation else Resources()
        known, price = _taken(Counter(i.service for i in seen.alive), index)
        added, further = _taken(coming, index)
        return cls(
            pool=seen.pool,
            index=index,
            now_ms=state.now_ms,
            horizon_ms=seen.horizon_ms,
            timing=seen.timing,
            asked=state.calibration.lift(seen.asked, index, seen.horizon_ms),
            serving=seen.serving,
            have=_have(seen.serving, coming, going),
            idle={name: max(0, count - going[name]) for name, count in idle.items()},
            capacity=capacity,
            leaving=_taken(going, index)[1],
            room=PoolRoom(
                capacity - more_of(known, reported) - added,
                _budget(seen.pool, state) - price - further,
            ),
        )


def without_done(state: PoolState, seen: PoolObservation) -> PoolState:
    """The state without commands that have expired or that the instances show to be finished."""
    coming, going = _coming_by_command(state, seen), _going_by_command(state, seen)
    starting = {
        command: start
        for command, start in state.starting.items()
        if start.expires_ms > state.now_ms and coming[command] > 0
    }
    releasing = {
        command: release
        for command, release in state.releasing.items()
        if release.expires_ms > state.now_ms and going[command] > 0
    }
    if len(starting) == len(state.starting) and len(releasing) == len(state.releasing):
        return state
    return replace(state, starting=starting, releasing=releasing)


def _have(
    serving: Mapping[str, tuple[str, ...]], coming: Counter[str], going: Counter[str]
) -> dict[str, int]:
    return {
        name: max(0, len(serving.get(name, ())) + coming[name] - going[name])
        for name in serving.keys() | coming.keys()
    }


def _budget(pool: Pool, state: PoolState) -> float:
    """Hourly budget of the pool; an operator override can only lower it."""
    said = state.control.budget if state.control else None
    return pool.budget if said is None else min(pool.budget, said)


def _coming(state: PoolState, seen: PoolObservation) -> Counter[str]:
    """Instances that are commanded but not reported yet, per constituent."""
    coming: Counter[str] = Counter()
    for command, count in _coming_by_command(state, seen).items():
        coming[state.starting[command].service] += count
    return coming


def _coming_by_command(state: PoolState, seen: PoolObservation) -> dict[str, int]:
    return {c: start.count - seen.arrived.get(c, 0) for c, start in state.starting.items()}


def _going(state: PoolState, seen: PoolObservation) -> Counter[str]:
    """Instances with a pending release that still serve, per constituent."""
    going: Counter[str] = Counter()
    for command, count in _going_by_command(state, seen).items():
        going[state.releasing[command].service] += count
    return going


def _going_by_command(state: PoolState, seen: PoolObservation) -> dict[str, int]:
    return {
        command: release.count - len({*release.of} - {*seen.serving.get(release.service, ())})
        for command, release in state.releasing.items()
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


def _started_from(state: PoolState, seen: PoolObservation, coming: Counter[str]) -> set[str]:
    """Bases that constituents are starting from, or are commanded to."""
    index = seen.index
    if not index.steps_on:
        return set()
    alive = (i for i in seen.alive if i.state in SERVING)
    starting = {i.service for i in alive if not i.warm_at(state.now_ms)} | (+coming).keys()
    known = index.catalog.constituents
    return {known[name].base for name in starting if name in known}


def _idle(instance: Instance, state: PoolState) -> bool:
    if instance.state is not InstanceState.WARM or not instance.warm_at(state.now_ms):
        return False
    off = state.control is not None and state.control.mode is Mode.OFF
    return not (off and instance.command_id.startswith(ON_REQUEST))


def _served_ms(instances: Iterable[Instance]) -> dict[str, float]:
    """Mean service time per constituent that has served a request."""
    busy: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for instance in instances:
        busy[instance.service] += instance.busy_ms
        uses[instance.service] += instance.uses
    return {name: busy[name] / count for name, count in uses.items() if count and busy[name]}


def taken_by(services: Iterable[str], index: CatalogIndex) -> Resources:
    """Resources that one instance of each of these constituents needs."""
    return _taken(Counter(services), index)[0]


def _taken(counts: Mapping[str, int], index: CatalogIndex) -> tuple[Resources, float]:
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


def more_of(one: Resources, other: Resources) -> Resources:
    """The element-wise maximum."""
    return Resources(
        cpu=max(one.cpu, other.cpu),
        memory=max(one.memory, other.memory),
        bandwidth=max(one.bandwidth, other.bandwidth),
    )
