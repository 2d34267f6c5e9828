"""Value of the first, second, ... warm instance of a constituent under the expected requests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.demand_arrays import DemandArrays
from streams.allocator.valuation.occupancy import Floats, fill_uses
from streams.allocator.valuation.step_values import StepValues
from streams.models.kernels import F8, FLOAT, INT, F8x2, inner, kernel, repeated
from streams.records.instances import ENOUGH

__all__ = [
    "ConstituentTiming",
    "InstanceLevel",
    "InstanceLevels",
    "Load",
    "in_service_soon",
    "may_pay",
    "timing_of",
]


@dataclass(frozen=True, slots=True)
class ConstituentTiming:
    """Start-up and service times per constituent, in ms."""

    warm_up_ms: Floats  # mean start-up time
    serve_ms: Floats  # mean service time


@dataclass(frozen=True, slots=True)
class InstanceLevel:
    """The k-th warm instance of a constituent."""

    chance: float  # probability that it is used within the horizon
    value: float  # expected value of keeping it warm, in the unit of the prices
    worth: Sequence[float]  # the same by tier


def timing_of(
    index: CatalogIndex,
    demands: Iterable[DemandArrays],
    serve_ms: Mapping[str, float],
    default_ms: float,
) -> ConstituentTiming:
    """Times per constituent: measured ones where there are enough, else the catalogue's."""
    mean, measured = index.warm_up_ms, [part.starts for part in demands if part.demand.warm_ups]
    if measured:
        count, total = np.sum(measured, axis=0)
        mean = np.where(count >= ENOUGH, total / np.maximum(count, 1), mean)
    serve = np.empty(len(mean))
    serve.fill(default_ms)
    for name, ms in serve_ms.items():
        if name in index.number:
            serve[index.number[name]] = ms
    return ConstituentTiming(mean, serve)


# By constituent: expected uses, what they save, and the share of the horizon that each takes.
Load = tuple[Floats, Floats, Floats]


@inner
def may_pay(load: Load, part: int, cost: float) -> bool:
    """Whether a second instance of a constituent may be worth more than this.

    At most as often as one instance alone is busy, which is at most the load, all are.
    """
    asked, worth, serving = load
    may: bool = worth[part] * min(1.0, asked[part] * serving[part]) > cost
    return may


_fill_uses = inner(fill_uses)


@inner
def _left(busy: float, load: float, starts: float) -> float:
    """What a request that finds so many busy waits of a start: until one of them is free.

    In a delay system that lasts exponentially long, with the rate at which those busy end more
    requests than come (Kleinrock, Queueing Systems 1, 1975, section 3.5).

    Parameters
    ----------
    starts
        How many times as long as serving a request a start takes.
    """
    ends = (busy - load) * starts
    return -math.expm1(-ends) / ends if ends > 0.0 else 1.0


@kernel(F8, F8x2, F8, F8, F8, repeated(FLOAT, 2), repeated(FLOAT, 2), INT, FLOAT)
def _fill_levels(
    uses: Floats,
    worth: Floats,
    asked: Floats,
    saved_ms: Floats,
    weight: Floats,
    times: tuple[float, float],
    soon: tuple[float, float],
    at_once: int,
    enough: float,
) -> int:
    """Fill in uses and worth by tier of the instances of a constituent; the number of those used.

    Parameters
    ----------
    asked, saved_ms
        Expected uses and savings by tier, highest first.
    times
        Of a start and of serving a request, in horizons.
    soon
        Requests in service at the time that counts: of those of now, and for each expected use.
    """
    starting, serving = times
    of_now, of_each = soon
    each = np.zeros_like(asked)  # value of one request, by tier
    for tier in range(len(asked)):
        if asked[tier] > 0.0:
            each[tier] = saved_ms[tier] / asked[tier] * (weight[tier] / 1000)
    mean, of_these = 0.0, np.empty_like(uses)
    for tier in range(len(asked)):
        mean += asked[tier]
        load = min(mean * serving, of_now + mean * of_each)
        _fill_uses(of_these, mean, load, at_once, enough / max(each.max(), 1e-300))
        for level in range(len(uses)):
            # What a tier adds to the uses by those above it.
            used = max(uses[level], of_these[level])
            left = _left(level * at_once, load, starting / max(serving, 1e-300))
            worth[level, tier] = (used - uses[level]) * each[tier] * left
            uses[level] = used
    levels = 0
    while levels < len(uses) and uses[levels] > 0.0:
        levels += 1
    return levels


def in_service_soon(
    busy: Numbers, at_once: Numbers, *, starting: Floats, serving: Floats
) -> tuple[Floats, Floats]:
    """Requests in service when an instance that is started now would be ready.

    Of those in service now some are left, and of those that come until then most are there: a queue
    with as many servers as requests, from its state of now (Takács, Introduction to the Theory of
    Queues, 1962, chapter 3). In the long run it is expected uses times service time. Until then
    there is time: what is needed later is started later. And whoever is about to ask once is no
    stream of requests, though the rate at which they ask is as high.

    Parameters
    ----------
    busy
        Instances that serve, by constituent.
    starting, serving
        See `InstanceLevels`.

    Returns
    -------
    Those of now that are left, and what each expected use adds. Of instances that serve several at
    once it is not known how many they do: infinitely many are left, so that the long run counts.
    """
    left = np.exp(-starting / np.maximum(serving, 1e-300))
    return np.where(at_once > 1, np.inf, busy * left), serving * (1.0 - left)


class InstanceLevels:
    """Value of each further warm instance; requests of higher tiers are served first.

    By renewal-reward, keeping an instance pays when the savings of its uses per unit of time
    exceed its price. So its value counts all uses within the horizon, not only the first. A tier
    uses the k-th instance as often as the requests of this and higher tiers reach it, minus the
    uses by the higher tiers alone. A use saves the wait for a start, or for the first of those
    before it to be free. A constituent is looked at when it is first asked about: few are ever worth
    a second instance.

    Parameters
    ----------
    values
        Expected uses and savings; tiers highest first.
    starting, serving
        Share of the horizon that a start of each constituent takes, and for which one request keeps
        it busy.
    most
        Most instances of a constituent.
    enough
        Per constituent: levels after the first that are worth less may be omitted.
    soon
        See `in_service_soon`: for instances to be started. Of those to be kept all that comes counts.
    """

    def __init__(
        self,
        values: StepValues,
        index: CatalogIndex,
        *,
        starting: Floats,
        serving: Floats,
        most: int,
        enough: Floats,
        soon: tuple[Floats, Floats] | None = None,
    ) -> None:
        self._values, self._index = values, index
        self._starting, self._serving, self._most, self._enough = starting, serving, most, enough
        self._soon = soon or (np.zeros_like(serving), serving)
        self._found: dict[int, list[InstanceLevel]] = {}

    def level(self, part: int, k: int) -> InstanceLevel | None:
        """The k-th instance; None if it is never used."""
        levels = self._found.get(part)
        if levels is None:
            levels = self._found[part] = self._value(part)
        return levels[k - 1] if 0 < k <= len(levels) else None

    @property
    def load(self) -> Load:
        """By which it is told where a further instance may pay."""
        return self._values.asked, self._values.worth, self._serving

    def _value(self, part: int) -> list[InstanceLevel]:
        uses, worth = np.zeros(self._most), np.zeros((self._most, len(self._index.tiers)))
        levels = _fill_levels(
            uses, worth, self._values.uses[part], self._values.saved_ms[part], self._index.weight,
            (self._starting[part], self._serving[part]),
            (self._soon[0][part], self._soon[1][part]),
            self._index.at_once[part], self._enough[part],
        )  # fmt: skip
        columns = uses[:levels].tolist(), worth[:levels].tolist()
        return [
            InstanceLevel(-math.expm1(-uses), sum(by_tier), by_tier)
            for uses, by_tier in zip(*columns, strict=True)
        ]
