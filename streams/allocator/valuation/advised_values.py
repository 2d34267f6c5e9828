"""What advice makes of the values of instances."""

from __future__ import annotations

import numpy as np

from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.occupancy import Floats
from streams.models.kernels import F8, I8, inner, kernel, repeated

__all__ = ["LESS", "MORE", "told", "told_one"]

MORE = 1 + 1e-9  # value of what is advised, in its cost: just enough
LESS = 0.25  # value of what is advised against, in the cost of keeping it: at most


def told_one(value: float, k: int, advised: int, cost: float, keep_cost: float) -> float:
    """Value of the k-th instance, given how many are advised and from which value on it pays."""
    if advised < 0:
        return value
    return max(value, MORE * cost) if k <= advised else min(value, LESS * keep_cost)


_told_one = inner(told_one)


@kernel(F8, I8, I8, repeated(F8, 2), F8)
def _tell(
    value: Floats, k: Numbers, advised: Numbers, costs: tuple[Floats, Floats], out: Floats
) -> None:
    cost, keep_cost = costs
    for part in range(len(value)):
        out[part] = _told_one(value[part], k[part], advised[part], cost[part], keep_cost[part])


def told(value: Floats, k: Numbers, advised: Numbers, cost: Floats, keep_cost: Floats) -> Floats:
    """As `told_one`, by constituent."""
    found = np.empty_like(value)
    _tell(value, k, advised, (cost, keep_cost), found)
    return found
