"""How many instances are advised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from streams.allocator.valuation.catalog_index import Numbers

__all__ = ["KeepWarmAdvice"]


@dataclass(frozen=True, slots=True, eq=False)
class KeepWarmAdvice:
    """How many instances of each constituent are worth keeping, and worth starting ahead.

    Whether an instance pays follows the advice; how much more it is worth than it costs, which
    decides where not all fit, follows the demand.

    Attributes
    ----------
    to_keep, to_start
        Instances advised by constituent; -1 where nothing is known of its past.
    tier
        Number of the tier that used each last: an instance is held for it that no demand is for.
    """

    to_keep: Numbers
    to_start: Numbers
    tier: Numbers

    @classmethod
    @cache
    def none(cls, constituents: int) -> KeepWarmAdvice:
        """No advice: values are those of the demand."""
        unknown = np.full(constituents, -1, np.int64)
        return cls(unknown, unknown, np.zeros(constituents, np.int64))

    def by_tier(self, part: int, worth: Sequence[float], value: float) -> Sequence[float]:
        """The value by tier, in proportion to that by demand."""
        total = sum(worth)
        if total > 0.0:
            return worth if value == total else [each * value / total for each in worth]
        found = [0.0] * len(worth)
        found[int(self.tier[part])] = value
        return found
