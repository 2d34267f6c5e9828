"""Value of the first, second, ... warm instance of a constituent under the expected requests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.demand_arrays import DemandArrays
from streams.allocator.valuation.occupancy import Floats, uses_by_level
from streams.allocator.valuation.step_values import StepValues
from streams.records.instances import ENOUGH

__all__ = [
    "ConstituentTiming",
    "InstanceLevel",
    "InstanceLevels",
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
    serve = np.full(len(mean), default_ms)
    for name, ms in serve_ms.items():
        if name in index.number:
            serve[index.number[name]] = ms
    return ConstituentTiming(mean, serve)


class InstanceLevels:
    """Value of each further warm instance; requests of higher tiers are served first.

    By renewal-reward, keeping an instance pays when the savings of its uses per unit of time
    exceed its price. So its value counts all uses within the horizon, not only the first. A tier
    uses the k-th instance as often as the requests of this and higher tiers reach it, minus the
    uses by the higher tiers alone. A constituent is looked at when it is first asked about: few
    are ever worth a second instance.

    Parameters
    ----------
    values
        Expected uses and savings; tiers highest first.
    serving
        Share of the horizon for which one request keeps each constituent busy.
    most
        Most instances of a constituent.
    enough
        Per constituent: levels after the first that are worth less may be omitted.
    """

    def __init__(
        self,
        values: StepValues,
        index: CatalogIndex,
        *,
        serving: Floats,
        most: int,
        enough: Floats,
    ) -> None:
        self._values, self._index = values, index
        self._serving, self._most, self._enough = serving, most, enough
        self._found: dict[int, list[InstanceLevel]] = {}

    def level(self, part: int, k: int) -> InstanceLevel | None:
        """The k-th instance; None if it is never used."""
        self.look_up([part])
        levels = self._found[part]
        return levels[k - 1] if 0 < k <= len(levels) else None

    def may_pay(self, cost: Floats) -> NDArray[np.bool_]:
        """Whether a second instance of each constituent may be worth more than this.

        At most as often as one instance alone is busy, which is at most the load, all are.
        """
        load = np.minimum(1.0, self._values.asked * self._serving)
        may: NDArray[np.bool_] = self._values.worth * load > cost
        return may

    def look_up(self, parts: Iterable[int]) -> None:
        """Value the instances of these constituents, all in one go."""
        new = [part for part in parts if part not in self._found]
        if not new:
            return
        asked, saved_ms = self._values.uses[new], self._values.saved_ms[new]
        each = np.divide(saved_ms, asked, out=np.zeros_like(asked), where=asked > 0.0)
        each *= self._index.weight / 1000  # value of one request, by tier
        mean, tiers = np.cumsum(asked, axis=1), asked.shape[1]
        counts = uses_by_level(
            mean.ravel(),
            (mean * self._serving[new, None]).ravel(),
            np.repeat(self._index.at_once[new], tiers),
            self._most,
            np.repeat(self._enough[new] / np.maximum(each.max(axis=1), 1e-300), tiers),
        )
        counts = np.maximum.accumulate(counts.reshape(len(new), tiers, counts.shape[1]), axis=1)
        # What a tier adds to the uses by those above it.
        worths = np.diff(counts, axis=1, prepend=0.0) * each[:, :, None]
        for part, used, worth in zip(new, counts[:, -1], worths, strict=True):
            levels = np.count_nonzero(used)
            columns = used[:levels].tolist(), worth[:, :levels].T.tolist()
            self._found[part] = [
                InstanceLevel(-math.expm1(-uses), sum(by_tier), by_tier)
                for uses, by_tier in zip(*columns, strict=True)
            ]
