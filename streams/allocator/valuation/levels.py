"""From expected requests to what the first, second, ... warm instance of a constituent is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streams.allocator.valuation.catalog_index import Anatomy, Asked, Numbers
from streams.allocator.valuation.paths import Paths
from streams.allocator.valuation.tail_probability import Floats, used
from streams.records import Demand

__all__ = ["Level", "Levels", "Timing", "Uses", "timing_of", "uses_of"]

MEASURED = 3  # start-ups measured from which they replace the catalogue's
NINETY = 1.2816  # 90 % quantile of the normal law, in standard deviations


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each constituent takes, in ms."""

    warm_up_ms: Floats  # to start, mean
    ready_ms: Floats  # to start, 90 % quantile: how far ahead a start has to be
    serve_ms: Floats  # to serve a request


@dataclass(frozen=True, slots=True)
class Uses:
    """Expected requests that need each constituent: a row per constituent, a column per tier."""

    mean: Floats
    variance: Floats
    saved_ms: Floats  # expected sum over these requests, when it is warm

    @property
    def each_ms(self) -> Floats:
        """Expected saving of one of them."""
        return np.divide(
            self.saved_ms, self.mean, out=np.zeros_like(self.mean), where=self.mean > 0
        )


@dataclass(frozen=True, slots=True)
class Level:
    """The k-th warm instance of a constituent."""

    chance: float  # that it is used within the horizon
    value: float  # expected worth of its being warm, in the unit of the prices
    worth: Sequence[float]  # the same by tier


def timing_of(
    anatomy: Anatomy, demands: Iterable[Demand], serve_ms: Mapping[str, float], default_ms: float
) -> Timing:
    """How long each constituent takes: as measured when it was, else as the catalogue says."""
    count, total, squares = np.zeros((3, len(anatomy.constituents)))
    for demand in demands:
        for m in demand.warm_ups:
            i = anatomy.number.get(m.service)
            if i is not None:
                count[i] += m.count
                total[i] += m.total_ms
                squares[i] += m.squares_ms2
    known = count >= MEASURED
    count = np.maximum(count, 1)
    mean = np.where(known, total / count, anatomy.warm_up_ms)
    spread = np.sqrt(np.maximum(0.0, squares / count - mean * mean))
    serve = np.full(len(mean), default_ms)
    for name, ms in serve_ms.items():
        if name in anatomy.number:
            serve[anatomy.number[name]] = ms
    return Timing(mean, np.where(known, mean + NINETY * spread, mean), serve)


def uses_of(asked: Asked, anatomy: Anatomy, paths: Paths) -> Uses:
    """The requests that need each constituent, over all composites that share it."""
    mean = asked.mean[anatomy.step_service]
    return Uses(
        paths.per_part(mean[:, None, :]),
        paths.per_part(asked.variance[anatomy.step_service][:, None, :]),
        paths.per_part(mean[:, None, :] * paths.shares[:, :, None]),
    )


class Levels:
    """What each further warm instance is worth; requests of higher tiers are served first.

    An instance that is kept until it is used, again and again, pays when what its uses save in
    a time exceeds its price for this time (renewal and reward): so it is worth what all its
    uses within the horizon save, not the first alone, or what is used often would count no
    more than what is used once. The k-th instance is used by a tier as often as the requests
    of this tier and those above reach it, less those above alone.

    Parameters
    ----------
    uses
        Tiers highest first.
    overlap, most
        See `value.used`.
    enough
        Of each constituent: levels after the first that are worth less may be left out.
    trust
        Of each constituent: what it is worth is multiplied by it.
    """

    def __init__(
        self,
        uses: Uses,
        anatomy: Anatomy,
        *,
        overlap: Floats,
        most: int,
        enough: Floats,
        trust: Floats | None = None,
    ) -> None:
        each = uses.each_ms / 1000 * anatomy.weight  # worth of one request, by tier
        if trust is not None:
            each *= trust[:, None]
        needed = np.flatnonzero(uses.mean.any(axis=1))
        best = np.maximum(each[needed].max(axis=1, initial=0.0), 1e-300)
        tiers = uses.mean.shape[1]
        chances, counts = used(
            np.cumsum(uses.mean[needed], axis=1).ravel(),
            np.cumsum(uses.variance[needed], axis=1).ravel(),
            overlap=np.repeat(overlap[needed], tiers),
            at_once=np.repeat(anatomy.at_once[needed], tiers),
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

    def level(self, part: int, k: int) -> Level | None:
        """The k-th instance, when there is any chance that it is used."""
        if not 0 < k <= self.chance.shape[1] or not self.chance[part, k - 1]:
            return None
        (worth,) = self.worths(np.array([part]), np.array([k]))
        return Level(float(self.chance[part, k - 1]), float(self.value[part, k - 1]), worth)

    def worths(self, parts: Numbers, ks: Numbers) -> list[list[float]]:
        """What these instances are worth, one a row, by tier; there must be a chance of each."""
        worth: list[list[float]] = (
            self._gains[self._place[parts], :, ks - 1] * self._each[parts]
        ).tolist()
        return worth
