"""How many instances of each constituent pay by the demand alone."""

from __future__ import annotations

import numpy as np

from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.first_instances import FirstInstances
from streams.allocator.valuation.levels import InstanceLevels
from streams.allocator.valuation.occupancy import Floats

__all__ = ["paying"]


def paying(
    firsts: FirstInstances,
    levels: InstanceLevels,
    have: Numbers,
    keep_cost: Floats,
    start_cost: Floats,
) -> Numbers:
    """The number of instances by constituent: those worth keeping, and those worth starting."""
    cold = have == 0
    number = np.where(cold, firsts.gains() > start_cost, firsts.losses() >= keep_cost)
    found: Numbers = number.astype(np.int64)
    for parts in firsts.candidates():
        places = sorted(parts)
        if sum(firsts.gain(parts)) > start_cost[places].sum():
            found[places] = 1
    several = (~cold & ((have > 1) | levels.may_pay(start_cost))).nonzero()[0].tolist()
    for part in several:
        further = _number(levels, part, int(have[part]), keep_cost, start_cost)
        found[part] = max(int(found[part]), further)
    return found


def _number(
    levels: InstanceLevels, part: int, have: int, keep_cost: Floats, start_cost: Floats
) -> int:
    number = 0
    while level := levels.level(part, number + 1):
        if level.value < float((keep_cost if number < have else start_cost)[part]):
            break
        number += 1
    return number
