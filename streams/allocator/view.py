"""The view that a decision is based on: demand, instances, commands under way, free capacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streams.allocator.instances import SERVING, PoolInstances, taken_by
from streams.allocator.packing import PoolRoom
from streams.allocator.state import PoolState
from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.demand_arrays import DemandArrays, asked_in_all
from streams.allocator.valuation.levels import ConstituentTiming, timing_of
from streams.allocator.valuation.occupancy import Floats
from streams.records.catalog import Pool, Resources
from streams.records.control import Mode

__all__ = ["PoolObservation", "PoolView", "more_of", "without_done"]


@dataclass(frozen=True, slots=True)
class PoolObservation:
    """Input of a decision that comes from outside: the pool's demand and instances."""

    pool: Pool
    index: CatalogIndex
    horizon_ms: int
    asked: Floats  # sum over all partitions, not corrected for bursts
    timing: ConstituentTiming
    instances: PoolInstances

    @classmethod
    def of(
        cls,
        pool: str,
        demands: Sequence[DemandArrays],
        instances: PoolInstances,
        index: CatalogIndex,
        *,
        now_ms: int,
        serve_ms: float,
    ) -> PoolObservation:
        """Sum the demand of all partitions; expired demand keeps only measured start-up times."""
        live = [part for part in demands if part.demand.expires_ms > now_ms]
        return cls(
            pool=index.catalog.pools[pool],
            index=index,
            horizon_ms=max((part.demand.horizon_ms for part in demands), default=0),
            asked=asked_in_all(index, live),
            timing=timing_of(index, demands, instances.serve_ms, serve_ms),
            instances=instances,
        )

    def having(self, instances: PoolInstances) -> PoolObservation:
        """A copy with other instances; demand and timing are shared."""
        return replace(self, instances=instances)


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
    have: Numbers  # by constituent: instances that can serve, and those under way
    idle: Numbers  # by constituent: instances that may be released
    busy: Numbers  # by constituent: instances that serve
    capacity: Resources
    budget: float  # most that instances may cost in an hour
    room: PoolRoom
    leaving: float  # hourly price of instances with a pending release

    @classmethod
    def of(cls, state: PoolState, seen: PoolObservation) -> PoolView:
        """Build the view; `state` has no finished commands any more (see `without_done`)."""
        index, instances = seen.index, seen.instances
        coming, going = _coming(state, seen), _going(state, seen)
        have, leaving = instances.have, 0.0
        idle = _idle(state, seen, coming)
        if coming:
            have = have + index.counts(coming)
        if going:
            have = np.maximum(have - index.counts(going), 0)
            idle = np.maximum(idle - index.counts(going), 0)
            _, leaving = taken_by(going, index)
        capacity = state.utilisation.capacity if state.utilisation else seen.pool.capacity
        reported = state.utilisation.used if state.utilisation else Resources()
        added, further = taken_by(coming, index)
        budget = _budget(seen.pool, state)
        return cls(
            pool=seen.pool,
            index=index,
            now_ms=state.now_ms,
            horizon_ms=seen.horizon_ms,
            timing=seen.timing,
            asked=state.calibration.lift(seen.asked, index, seen.horizon_ms),
            serving=instances.serving,
            have=have,
            idle=np.minimum(idle, have),
            busy=instances.busy(state.now_ms, len(index.constituents)),
            capacity=capacity,
            leaving=leaving,
            budget=budget,
            room=PoolRoom(
                capacity - more_of(instances.taken, reported) - added,
                budget - instances.price - further,
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
    return state._replace(starting=starting, releasing=releasing)


def _budget(pool: Pool, state: PoolState) -> float:
    """Hourly budget of the pool; an operator override can only lower it."""
    said = state.control.budget if state.control else None
    return pool.budget if said is None else min(pool.budget, said)


def _coming(state: PoolState, seen: PoolObservation) -> dict[str, int]:
    """Instances that are commanded but not reported yet, per constituent."""
    coming: dict[str, int] = {}
    for command, count in _coming_by_command(state, seen).items():
        name = state.starting[command].service
        coming[name] = coming.get(name, 0) + count
    return coming


def _coming_by_command(state: PoolState, seen: PoolObservation) -> dict[str, int]:
    return {
        c: start.count - seen.instances.arrived.get(c, 0) for c, start in state.starting.items()
    }


def _going(state: PoolState, seen: PoolObservation) -> dict[str, int]:
    """Instances with a pending release that still serve, per constituent."""
    going: dict[str, int] = {}
    for command, count in _going_by_command(state, seen).items():
        name = state.releasing[command].service
        going[name] = going.get(name, 0) + count
    return going


def _going_by_command(state: PoolState, seen: PoolObservation) -> dict[str, int]:
    return {
        command: release.count
        - len({*release.of} - {*seen.instances.serving.get(release.service, ())})
        for command, release in state.releasing.items()
    }


def _started_from(state: PoolState, seen: PoolObservation, coming: Mapping[str, int]) -> list[int]:
    """Bases that constituents are starting from, or are commanded to."""
    index = seen.index
    alive = (i for i in seen.instances.alive if i.state in SERVING)
    starting = {i.service for i in alive if not i.warm_at(state.now_ms)}
    starting |= {name for name, count in coming.items() if count > 0}
    bases = {index.base[index.number[name]] for name in starting if name in index.number}
    return sorted(bases - {-1})


def _idle(state: PoolState, seen: PoolObservation, coming: Mapping[str, int]) -> Numbers:
    """Free instances by constituent that may be released."""
    index, instances = seen.index, seen.instances
    free = instances.free_since_ms <= state.now_ms
    if state.control is not None and state.control.mode is Mode.OFF:
        free &= ~instances.free_on_request
    idle = np.bincount(instances.free[free], minlength=len(index.constituents))
    if index.steps_on:
        idle[_started_from(state, seen, coming)] = 0
    return idle


def more_of(one: Resources, other: Resources) -> Resources:
    """The element-wise maximum."""
    return Resources(
        cpu=max(one.cpu, other.cpu),
        memory=max(one.memory, other.memory),
        bandwidth=max(one.bandwidth, other.bandwidth),
    )
