"""Value of the first, second, ... warm instance of a constituent under the expected requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streams.allocator.valuation.catalog_index import CatalogIndex, ExpectedRequests, Numbers
from streams.allocator.valuation.paths import CriticalPaths
from streams.allocator.valuation.tail_probability import Floats, used
from streams.records import Demand

__all__ = [
    "ConstituentTiming",
    "ConstituentUses",
    "InstanceLevel",
    "InstanceLevels",
    "timing_of",
    "uses_of",
]

MEASURED = 3  # measured start-ups needed to replace the catalogue's time
NINETY = 1.2816  # 90 % quantile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class ConstituentTiming:
    """Start-up and service times per constituent, in ms."""

    warm_up_ms: Floats  # mean start-up time
    ready_ms: Floats  # 90 % quantile of it: lead time of a start
    serve_ms: Floats  # mean service time


@dataclass(frozen=True, slots=True)
class ConstituentUses:
    """Expected requests that need each constituent; rows are constituents, columns tiers."""

    mean: Floats
    variance: Floats
    saved_ms: Floats  # expected total saving if the constituent is warm

    @property
    def each_ms(self) -> Floats:
        """Expected saving per request."""
        return np.divide(
            self.saved_ms, self.mean, out=np.zeros_like(self.mean), where=self.mean > 0
        )


@dataclass(frozen=True, slots=True)
class InstanceLevel:
    """The k-th warm instance of a constituent."""

    chance: float  # probability that it is used within the horizon
    value: float  # expected value of keeping it warm, in the unit of the prices
    worth: Sequence[float]  # the same by tier


def timing_of(
    index: CatalogIndex, demands: Iterable[Demand], serve_ms: Mapping[str, float], default_ms: float
) -> ConstituentTiming:
    """Times per constituent: measured ones where there are enough, else the catalogue's."""
    count, total, squares = np.zeros((3, len(index.constituents)))
    for demand in demands:
        for m in demand.warm_ups:
            i = index.number.get(m.service)
            if i is not None:
                count[i] += m.count
                total[i] += m.total_ms
                squares[i] += m.squares_ms2
    known = count >= MEASURED
    count = np.maximum(count, 1)
    mean = np.where(known, total / count, index.warm_up_ms)
    spread = np.sqrt(np.maximum(0.0, squares / count - mean * mean))
    serve = np.full(len(mean), default_ms)
    for name, ms in serve_ms.items():
        if name in index.number:
            serve[index.number[name]] = ms
    return ConstituentTiming(mean, np.where(known, mean + NINETY * spread, mean), serve)


def uses_of(asked: ExpectedRequests, index: CatalogIndex, paths: CriticalPaths) -> ConstituentUses:
    """Expected requests per constituent, summed over all composites that share it."""
    mean = asked.mean[index.step_service]
    return ConstituentUses(
        paths.per_part(mean[:, None, :]),
        paths.per_part(asked.variance[index.step_service][:, None, :]),
        paths.per_part(mean[:, None, :] * paths.shares[:, :, None]),
    )


class InstanceLevels:
    """Value of each further warm instance; requests of higher tiers are served first.

    By renewal-reward, keeping an instance pays when the savings of its uses per unit of time
    exceed its price. So its value counts all uses within the horizon, not only the first. A tier
    uses the k-th instance as often as the requests of this and higher tiers reach it, minus the
    uses by the higher tiers alone.

    Parameters
    ----------
    uses
        Tiers highest first.
    overlap, most
        See `tail_probability.used`.
    enough
        Per constituent: levels after the first that are worth less may be omitted.
    factors
        Calibration factor per constituent; multiplies its value.
    """

    def __init__(
        self,
        uses: ConstituentUses,
        index: CatalogIndex,
        *,
        overlap: Floats,
        most: int,
        enough: Floats,
        factors: Floats | None = None,
    ) -> None:
        each = uses.each_ms / 1000 * index.weight  # value of one request, by tier
        if factors is not None:
            each *= factors[:, None]
        needed = np.flatnonzero(uses.mean.any(axis=1))
        best = np.maximum(each[needed].max(axis=1, initial=0.0), 1e-300)
        tiers = uses.mean.shape[1]
        chances, counts = used(
            np.cumsum(uses.mean[needed], axis=1).ravel(),
            np.cumsum(uses.variance[needed], axis=1).ravel(),
            overlap=np.repeat(overlap[needed], tiers),
            at_once=np.repeat(index.at_once[needed], tiers),
            most=most,
            least=np.repeat(np.minimum(1.0, enough[needed] / best), tiers),
        )
        shape = (len(needed), tiers, chances.shape[1])
        self.chance = np.zeros((len(uses.mean), shape[2]))
        self.chance[needed] = chances.reshape(shape)[:, -1]
        counts = np.maximum.accumulate(counts.reshape(shape), axis=1)
        gains = counts.copy()
        gains[:, 1:] -= counts[:, :-1]
        self.value = np.zeros_like(self.chance)
        self.value[needed] = np.einsum("ntk,nt->nk", gains, each[needed])
        self._gains, self._each = gains, each
        self._place = np.full(len(uses.mean), -1)
        self._place[needed] = np.arange(len(needed))

    def level(self, part: int, k: int) -> InstanceLevel | None:
        """The k-th instance; None if it is never used."""
        if not 0 < k <= self.chance.shape[1] or not self.chance[part, k - 1]:
            return None
        (worth,) = self.worths(np.array([part]), np.array([k]))
        return InstanceLevel(float(self.chance[part, k - 1]), float(self.value[part, k - 1]), worth)

    def worths(self, parts: Numbers, ks: Numbers) -> list[list[float]]:
        """Value of these instances by tier, one row each; each must have a chance of use."""
        worth: list[list[float]] = (
            self._gains[self._place[parts], :, ks - 1] * self._each[parts]
        ).tolist()
        return worth
