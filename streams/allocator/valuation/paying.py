"""Which instances pay: by the demand alone, to start, to keep; as machine code."""

from __future__ import annotations

import sys

import numpy as np

from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.first_instances import FirstInstances
from streams.allocator.valuation.levels import InstanceLevels, Load, may_pay
from streams.allocator.valuation.occupancy import Floats
from streams.models.kernels import F8, FLOAT, I8, chosen, kernel, repeated

__all__ = ["first_that_pay", "further_that_may_pay", "paying", "worth_too_little"]

_F8x2, _F8x3, _I8x2, _I8x3 = repeated(F8, 2), repeated(F8, 3), repeated(I8, 2), repeated(I8, 3)


def paying(
    firsts: FirstInstances,
    kept: InstanceLevels,
    started: InstanceLevels,
    have: Numbers,
    keep_cost: Floats,
    start_cost: Floats,
) -> Numbers:
    """The number of instances by constituent: those worth keeping, and those worth starting.

    By the demand alone.
    """
    found, several = np.empty_like(have), np.empty_like(have)
    values, costs = (firsts.gains(), firsts.losses()), (start_cost, keep_cost)
    count = _pay(have, values, costs, kept.load, found, several)
    for parts in firsts.candidates():
        places = sorted(parts)
        if sum(firsts.gain(parts)) > start_cost[places].sum():
            found[places] = 1
    for part in several[:count].tolist():
        number = int(have[part])
        further = _number(kept, part, 0, number, keep_cost[part])
        if further == number:
            further = _number(started, part, number, sys.maxsize, start_cost[part])
        found[part] = max(int(found[part]), further)
    return found


@kernel(I8, _F8x2, _F8x2, _F8x3, I8, I8)
def _pay(
    have: Numbers,
    values: tuple[Floats, Floats],
    costs: tuple[Floats, Floats],
    load: Load,
    found: Numbers,
    several: Numbers,
) -> int:
    """Fill in whether a first instance pays; and where a further one may, their number is told."""
    (gains, losses), (start_cost, keep_cost), count = values, costs, 0
    for part in range(len(have)):
        if have[part] == 0:
            found[part] = gains[part] > start_cost[part]
            continue
        found[part] = losses[part] >= keep_cost[part]
        if have[part] > 1 or may_pay(load, part, start_cost[part]):
            several[count] = part
            count += 1
    return count


def _number(levels: InstanceLevels, part: int, number: int, most: int, cost: float) -> int:
    """How many instances are worth this, from so many on, and no more than the most."""
    while number < most and (level := levels.level(part, number + 1)) and level.value >= cost:
        number += 1
    return number


def first_that_pay(have: Numbers, gains: Floats, start_cost: Floats) -> list[int]:
    """Constituents without an instance of which one alone is worth its start."""
    return chosen(_find_first, len(have), have, gains, start_cost)


@kernel(I8, F8, F8, I8)
def _find_first(have: Numbers, gains: Floats, start_cost: Floats, found: Numbers) -> int:
    count = 0
    for part in range(len(have)):
        if have[part] == 0 and gains[part] > start_cost[part]:
            found[count] = part
            count += 1
    return count


def further_that_may_pay(
    have: Numbers, least: Numbers, advised: Numbers, load: Load, start_cost: Floats
) -> list[int]:
    """Constituents with instances of which one more may be worth its start, or is advised."""
    return chosen(_find_further, len(have), (have, least, advised), load, start_cost)


@kernel(_I8x3, _F8x3, F8, I8)
def _find_further(
    numbers: tuple[Numbers, Numbers, Numbers], load: Load, start_cost: Floats, found: Numbers
) -> int:
    (have, least, advised), count = numbers, 0
    for part in range(len(have)):
        if have[part] >= max(1, least[part]) and (
            advised[part] > have[part] or may_pay(load, part, start_cost[part])
        ):
            found[count] = part
            count += 1
    return count


def worth_too_little(
    have: Numbers, most: Numbers, value: Floats, keep_cost: Floats, share: float
) -> list[int]:
    """Constituents with more instances than the most, or whose last is worth too little.

    Parameters
    ----------
    value
        Of the last instance.
    share
        Fraction of the keeping cost below which an instance is worth too little.
    """
    return chosen(_find_worthless, len(have), (have, most), (value, keep_cost), share)


@kernel(_I8x2, _F8x2, FLOAT, I8)
def _find_worthless(
    numbers: tuple[Numbers, Numbers], values: tuple[Floats, Floats], share: float, found: Numbers
) -> int:
    (have, most), (value, keep_cost), count = numbers, values, 0
    for part in range(len(have)):
        if have[part] > 0 and (value[part] < keep_cost[part] * share or have[part] > most[part]):
            found[count] = part
            count += 1
    return count
