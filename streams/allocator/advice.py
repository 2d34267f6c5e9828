"""How many instances are advised, and what that makes of their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.occupancy import Floats

__all__ = ["KeepWarmAdvice", "told", "told_one"]

MORE = 1 + 1e-9  # value of what is advised, in its cost: just enough
LESS = 0.25  # value of what is advised against, in the cost of keeping it: at most


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


def told(
    value: Floats, k: Numbers | int, advised: Numbers, cost: Floats, keep_cost: Floats
) -> Floats:
    """Values of the k-th instances, given how many are advised and from which value on they pay."""
    more = np.maximum(value, MORE * cost)
    less = np.minimum(value, LESS * keep_cost)
    found: Floats = np.where(advised < 0, value, np.where(k <= advised, more, less))
    return found


def told_one(value: float, k: int, advised: int, cost: float, keep_cost: float) -> float:
    """As `told`, of one constituent."""
    if advised < 0:
        return value
    return max(value, MORE * cost) if k <= advised else min(value, LESS * keep_cost)
