"""What the pasts of a pool have taught about the experts, as a prior for each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.models.keep_warm.hedge import EXPERTS, PRIOR, Weights
from streams.models.keep_warm.own_past import OwnPast
from streams.models.state_bytes import packed, unpacked

__all__ = ["SharedWeights"]

_FIRST = np.exp(PRIOR)  # weights without losses
UNIT = 1 << 30  # a weight of one: sums are whole numbers, the same in whatever order


def _none() -> NDArray[np.int64]:
    return np.zeros(EXPERTS, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class SharedWeights:
    """The weights of the experts, summed over the pasts of a pool; immutable.

    Idea: a lesson such as "an instance is worth keeping for an hour" is paid for once, not once a
    constituent. The mean of the weights that experts have with the others, and of their first
    weights, estimates how often each is the best for a constituent of this pool (empirical Bayes).
    It is half of a past's prior, and the past's own weights move it on in turn: an online EM, which
    settles on one expert where all are alike, and on several where they differ.

    Guarantees: a constituent that is unlike the others learns as fast as one alone does, and pays
    ln 2 cold starts more, since half of its prior is that of a past alone.

    References
    ----------
    Robbins (1956), An empirical Bayes approach to statistics, Proceedings of the Third Berkeley
    Symposium 1; Cappe & Moulines (2009), On-line expectation-maximization algorithm for latent data
    models, Journal of the Royal Statistical Society B 71(3).
    """

    units: NDArray[np.int64] = field(default_factory=_none)
    pasts: int = 0

    @classmethod
    def of(cls, data: bytes, pasts: int) -> SharedWeights:
        """From the bytes of its sums; raises ValueError if they are damaged."""
        units = unpacked(data, np.dtype(np.int64))
        if len(units) != EXPERTS:
            raise ValueError(f"weights of {len(units)} experts where {EXPERTS} belong")
        return cls(units, pasts)

    @classmethod
    def of_all(cls, pasts: Iterable[OwnPast]) -> SharedWeights:
        """The sums over these pasts."""
        units = [_units(past) for past in pasts]
        return cls(np.sum(units, axis=0, dtype=np.int64), len(units)) if units else cls()

    def __bytes__(self) -> bytes:
        return packed(self.units)

    def without(self, past: OwnPast) -> SharedWeights:
        """The sums without a past that is in them."""
        return SharedWeights(self.units - _units(past), self.pasts - 1)

    def including(self, past: OwnPast) -> SharedWeights:
        """The sums with one more past."""
        return SharedWeights(self.units + _units(past), self.pasts + 1)

    def prior(self) -> Weights:
        """Log weights for one more past."""
        mean = (self.units / UNIT + _FIRST) / (self.pasts + 1)
        prior: Weights = np.log((_FIRST + mean) / 2)
        return prior


def _units(past: OwnPast) -> NDArray[np.int64]:
    return np.rint(past.weights * UNIT).astype(np.int64)
