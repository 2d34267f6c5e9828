"""Outcomes and instances summed up; pure, so that a replay and the database report alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.records import Command, Instance, Outcome, Result, Route
from streams.records.instances import ON_REQUEST

__all__ = [
    "FlowSummary",
    "InstanceTime",
    "LatencySample",
    "PoolSummary",
    "RequestSummary",
    "summarise",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LatencySample:
    """Latencies in ms of the requests that foremesh served; those observed from a log have none."""

    sorted_ms: NDArray[np.float64]

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """Those of these outcomes."""
        measured = [o.latency_ms for o in outcomes if o.route is not Route.OBSERVED]
        return cls(np.sort(np.array(measured, dtype=np.float64)))

    def __len__(self) -> int:
        return len(self.sorted_ms)

    def quantile(self, q: float) -> float | None:
        """The q-quantile in ms, interpolated between ranks; None of none."""
        return float(np.quantile(self.sorted_ms, q)) if len(self) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSummary:
    """Hits, waits and latencies of a group of requests."""

    count: int
    hits: int
    partials: int
    misses: int
    refused: int  # whatever their result
    cold_ms: int  # cold-start time waited for
    saved_ms: int  # cold-start time that warm instances spared
    latency: LatencySample  # of those served

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Self:
        """The sums of these outcomes."""
        results = Counter(outcome.result for outcome in outcomes)
        served = [outcome for outcome in outcomes if outcome.route is not Route.REFUSED]
        return cls(
            count=len(outcomes),
            hits=results[Result.HIT],
            partials=results[Result.PARTIAL],
            misses=results[Result.MISS],
            refused=len(outcomes) - len(served),
            cold_ms=sum(outcome.cold_ms for outcome in outcomes),
            saved_ms=sum(outcome.saved_ms for outcome in outcomes),
            latency=LatencySample.of(served),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceTime:
    """Instance-seconds of a group of instances."""

    instances: int  # that became warm
    warm_s: float
    used_s: float | None  # of these, spent serving; None where nobody measured it, as of a log

    @property
    def wasted_s(self) -> float | None:
        """Warm and not serving."""
        return None if self.used_s is None else self.warm_s - self.used_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSummary:
    """One pool; a control without pre-allocation is a pool of its own."""

    total: RequestSummary
    services: Mapping[str, RequestSummary]  # by composite
    tiers: Mapping[str, RequestSummary]
    latency: Mapping[str, LatencySample]  # by result, and `refused`
    instances: InstanceTime
    instances_by_service: Mapping[str, InstanceTime]  # by constituent
    instances_by_tier: Mapping[str, InstanceTime]  # the tier that they were started for
    at_ms: NDArray[np.int64]  # of each request, in order
    hit: NDArray[np.bool_]  # of the same


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSummary:
    """All pools, and the event time that they span."""

    from_ms: int
    to_ms: int
    pools: Mapping[str, PoolSummary]


@dataclass(frozen=True, slots=True)
class _InstanceLife:
    service: str
    tier: str
    warm_ms: int
    used_ms: float | None


def summarise(
    outcomes: Iterable[Outcome],
    instances: Iterable[Instance],
    commands: Iterable[Command] = (),
    *,
    clocks: Mapping[str, int] | None = None,
    from_ms: int | None = None,
    until_ms: int | None = None,
) -> FlowSummary:
    """Sum up how requests went and what the instances cost.

    The arguments are read in this order, each to its end: a replay may make the later ones of
    what it keeps while the outcomes are read.

    Parameters
    ----------
    outcomes
        One a request; of several with one user and request id the last counts.
    instances
        The last record of each. One that is not gone is warm up to what its pool's clock says.
    commands
        Those that started the instances: they say for which tier.
    clocks
        The newest time of each pool: what `pool_clock` says in PostgreSQL. What runs in a pool that
        has none is counted up to its last change; without clocks all up to the newest time seen.
    from_ms, until_ms
        The time of the outcomes: instances count for what they were warm of it.
    """
    requests = {(outcome.user, outcome.request_id): outcome for outcome in outcomes}
    lives = {instance.instance_id: instance for instance in instances}
    times = [outcome.at_ms for outcome in requests.values()]
    newest_ms = max([*times, *(life.changed_ms for life in lives.values())], default=0)
    clocks = clocks or dict.fromkeys((life.pool for life in lives.values()), newest_ms)
    ends = [life.gone_ms or clocks.get(life.pool, life.changed_ms) for life in lives.values()]
    to_ms = max([*times, *ends, *clocks.values()], default=0)
    to_ms = to_ms if until_ms is None else min(to_ms, until_ms)
    tiers = {command.command_id: command.tier for command in commands}
    tiers |= _tiers_of_causes(requests.values(), {life.command_id for life in lives.values()})
    by_pool = _grouped(requests.values(), lambda outcome: outcome.pool)
    lives_by_pool = _grouped(lives.values(), lambda life: life.pool)
    return FlowSummary(
        from_ms=min(times, default=to_ms),
        to_ms=to_ms,
        pools={
            pool: _pool(
                by_pool.get(pool, []),
                [
                    _life(i, tiers, from_ms, to_ms, clocks.get(pool, i.changed_ms))
                    for i in lives_by_pool.get(pool, [])
                ],
                # Without any address all are simulated: for how long they serve, nobody measures,
                # but a log may say. A real base has none either, but what starts from it has.
                simulated=not any(i.endpoint for i in lives_by_pool.get(pool, [])),
            )
            for pool in sorted(by_pool | lives_by_pool)
        },
    )


def _tiers_of_causes(outcomes: Iterable[Outcome], causes: Collection[str]) -> dict[str, str]:
    """The tier for which a request started instances; of several with one id it was the first."""
    found = [one for one in outcomes if f"{ON_REQUEST}{one.request_id}" in causes]
    found.sort(key=lambda outcome: (outcome.at_ms, outcome.user), reverse=True)
    return {f"{ON_REQUEST}{outcome.request_id}": outcome.tier for outcome in found}


def _pool(outcomes: list[Outcome], lives: list[_InstanceLife], *, simulated: bool) -> PoolSummary:
    outcomes.sort(key=lambda outcome: outcome.at_ms)
    observed = outcomes and all(outcome.route is Route.OBSERVED for outcome in outcomes)
    told = any(life.used_ms for life in lives)  # of simulated ones by a log with durations
    unknown = not told if simulated else observed
    if unknown:
        lives = [replace(life, used_ms=None if life.warm_ms else life.used_ms) for life in lives]
    services = _grouped(outcomes, lambda outcome: outcome.service)
    tiers = _grouped(outcomes, lambda outcome: outcome.tier)
    results = _grouped(outcomes, _label)
    return PoolSummary(
        total=RequestSummary.of(outcomes),
        services={name: RequestSummary.of(found) for name, found in services.items()},
        tiers={name: RequestSummary.of(found) for name, found in tiers.items()},
        latency={name: LatencySample.of(found) for name, found in results.items()},
        instances=_time(lives),
        instances_by_service=_times(lives, lambda life: life.service),
        instances_by_tier=_times(lives, lambda life: life.tier),
        at_ms=np.array([outcome.at_ms for outcome in outcomes], dtype=np.int64),
        hit=np.array([outcome.result is Result.HIT for outcome in outcomes], dtype=np.bool_),
    )


def _label(outcome: Outcome) -> str:
    return "refused" if outcome.route is Route.REFUSED else outcome.result.value


def _life(
    instance: Instance, tiers: Mapping[str, str], from_ms: int | None, to_ms: int, now_ms: int
) -> _InstanceLife:
    """A part of an instance's life so far; what it served is spread evenly over the whole."""
    end_ms = now_ms if instance.gone_ms is None else instance.gone_ms
    begin_ms = end_ms if instance.warm_since_ms is None else instance.warm_since_ms
    whole_ms = max(0, end_ms - begin_ms)
    seen_ms = begin_ms if from_ms is None else max(begin_ms, from_ms)
    warm_ms = max(0, min(end_ms, to_ms) - seen_ms)
    used_ms = min(instance.busy_ms, whole_ms) * warm_ms / max(1, whole_ms)
    tier = tiers.get(instance.command_id, "")
    return _InstanceLife(instance.service, tier, warm_ms, used_ms)


def _times(
    lives: list[_InstanceLife], key: Callable[[_InstanceLife], str]
) -> dict[str, InstanceTime]:
    return {name: _time(found) for name, found in _grouped(lives, key).items()}


def _time(lives: list[_InstanceLife]) -> InstanceTime:
    used_ms = [life.used_ms for life in lives if life.used_ms is not None]
    return InstanceTime(
        instances=sum(life.warm_ms > 0 for life in lives),
        warm_s=sum(life.warm_ms for life in lives) / 1000,
        used_s=sum(used_ms) / 1000 if len(used_ms) == len(lives) else None,
    )


def _grouped(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """The items by key, in the order of the keys."""
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(sorted(groups.items()))
