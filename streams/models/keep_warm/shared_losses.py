"""What all constituents of a pool have taught about the experts, as a prior for each of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streams.models.keep_warm.former_pasts import losses_of
from streams.models.keep_warm.hedge import EXPERTS, PRIOR, RATE, Weights
from streams.models.keep_warm.own_past import OwnPast
from streams.models.state_bytes import packed, unpacked

__all__ = ["SharedLosses"]

_NOTHING = np.zeros(EXPERTS)


@dataclass(frozen=True, slots=True, eq=False)
class SharedLosses:
    """The losses of the experts, summed over the pasts of a pool; immutable.

    A lesson such as "an instance is worth keeping for an hour" is paid for once, not once a
    constituent. A constituent that is unlike the others learns as fast as one alone does, and pays
    ln 2 cold starts more: half of its prior is that of a past alone, the other half what the mean
    of the others would weigh.
    """

    losses: Weights = field(default_factory=_NOTHING.copy)
    pasts: int = 0

    @classmethod
    def of(cls, data: bytes, pasts: int) -> SharedLosses:
        """From the bytes of its losses; raises ValueError if they are damaged."""
        losses = losses_of(unpacked(data, np.dtype(np.float64)))
        if len(losses) != EXPERTS:
            raise ValueError(f"losses of {len(losses)} experts where {EXPERTS} belong")
        return cls(losses, pasts)

    def __bytes__(self) -> bytes:
        return packed(self.losses)

    def replacing(self, before: OwnPast | None, after: OwnPast) -> SharedLosses:
        """The sum when a past has moved on, or a first one has begun."""
        old, new = (before.losses, 0) if before else (_NOTHING, 1)
        return SharedLosses(self.losses + (after.losses - old), self.pasts + new)

    def prior(self, past: OwnPast) -> Weights:
        """Log weights for one of the pasts, from those of all others."""
        others = (self.losses - past.losses) / max(1, self.pasts - 1)
        weights = np.exp(PRIOR - RATE * (others - others.min()))
        prior: Weights = np.log((np.exp(PRIOR) + weights / weights.sum()) / 2)
        return prior
