"""What warm constituents save the requests of all composites, step by step, as machine code.

A step runs its constituents in parallel and waits for the slowest cold one. So, slowest first, a
constituent and all slower ones make a layer: the slowest saves the time down to the second slowest,
these two together the time down to the third, and so on. Warming a constituent behind a slower cold
one saves nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.occupancy import Floats
from streams.models.kernels import B1, F8, I8, B1x2, F8x2, I8x2, inner, kernel, named

__all__ = ["StepValues", "step_values"]

Flags = NDArray[np.bool_]


class StepInputs(NamedTuple):
    """Steps, constituents and demand."""

    composite: Numbers  # of each step
    parts: Numbers  # constituents of each step; -1 pads a row
    wait_ms: Floats  # start-up time of each constituent
    warm: Flags  # whether it has an instance
    cost: Floats  # of starting it
    asked: Floats  # expected requests: composites x tiers
    weight: Floats  # of each tier, per second of waiting


class StepValues(NamedTuple):
    """By constituent (rows) and tier (columns), unless it says otherwise."""

    uses: Floats  # expected requests that need it
    saved_ms: Floats  # expected saving if it is warm: its share in the wait of each step
    alone: Floats  # gain if it alone became warm; 0 where it is warm
    lost: Floats  # loss if it alone ended; 0 where it is cold
    at_most: Floats  # by constituent: value of all that it blocks
    joint: Flags  # steps x layers: completed only by several starts, which may pay together


INPUTS = named(
    StepInputs, composite=I8, parts=I8x2, wait_ms=F8, warm=B1, cost=F8, asked=F8x2, weight=F8
)
VALUES = named(StepValues, uses=F8x2, saved_ms=F8x2, alone=F8x2, lost=F8x2, at_most=F8, joint=B1x2)


@inner
def _slowest_first(parts: Numbers, wait_ms: Floats, order: Numbers) -> int:
    """Sort the constituents of a step; returns their number."""
    count = 0
    for part in parts:
        if part < 0:
            break
        at = count
        while at > 0 and wait_ms[order[at - 1]] < wait_ms[part]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = part
        count += 1
    return count


@inner
def _next_cold(known: StepInputs, order: Numbers, at: int, count: int) -> int:
    """Position of the next cold constituent that takes time to start; `count` if there is none."""
    while at < count and (known.warm[order[at]] or known.wait_ms[order[at]] <= 0.0):
        at += 1
    return at


@inner
def _wait(known: StepInputs, order: Numbers, at: int, count: int) -> float:
    """Start-up time of the constituent at a position; 0 behind the last."""
    return known.wait_ms[order[at]] if at < count else 0.0


@inner
def _add(known: StepInputs, found: StepValues, row: int, order: Numbers, count: int) -> None:
    """Add what the constituents of a step save to their values."""
    first = _next_cold(known, order, 0, count)
    ahead_ms = _wait(known, order, first, count)
    alone_ms = ahead_ms - _wait(known, order, _next_cold(known, order, first + 1, count), count)
    share_ms, total = 0.0, 0.0
    for at in range(count - 1, -1, -1):
        part, wait_ms = order[at], known.wait_ms[order[at]]
        # The Shapley value in the maximum, of the airport game: all share the time of the fastest,
        # all but it the time up to the next (Littlechild and Owen, Management Science 20(3), 1973).
        share_ms += (wait_ms - _wait(known, order, at + 1, count)) / (at + 1)
        total = 0.0
        for tier in range(len(known.weight)):
            asked = known.asked[row, tier]
            worth = asked * known.weight[tier] / 1000.0
            total += worth
            found.uses[part, tier] += asked
            found.saved_ms[part, tier] += asked * share_ms
            if at == first:
                found.alone[part, tier] += alone_ms * worth
            elif at < first:
                found.lost[part, tier] += (wait_ms - ahead_ms) * worth
        if not known.warm[part]:
            found.at_most[part] += wait_ms * total


@inner
def _mark(known: StepInputs, found: StepValues, step: int, order: Numbers, count: int) -> None:
    """Mark the layers of a step that several starts complete, except those that cannot pay.

    The gain of a set is at most the value of all that its members block.
    """
    cold, at_most, at_least = 0, 0.0, 0.0
    for at in range(count):
        part, wait_ms = order[at], known.wait_ms[order[at]]
        if not known.warm[part] and wait_ms > 0.0:
            cold += 1
            at_most += found.at_most[part]
            at_least += known.cost[part]
        saves = wait_ms > _wait(known, order, at + 1, count)
        found.joint[step, at] = saves and cold > 1 and at_most > at_least


@kernel(INPUTS, VALUES)
def _weigh(known: StepInputs, found: StepValues) -> None:
    order = np.empty(known.parts.shape[1], np.int64)
    for step in range(len(known.composite)):
        count = _slowest_first(known.parts[step], known.wait_ms, order)
        _add(known, found, known.composite[step], order, count)
    for step in range(len(known.composite)):
        if known.asked[known.composite[step]].any():
            count = _slowest_first(known.parts[step], known.wait_ms, order)
            _mark(known, found, step, order, count)


def step_values(
    index: CatalogIndex, wait_ms: Floats, warm: Flags, cost: Floats, asked: Floats
) -> StepValues:
    """The values of all constituents, given which of them are warm.

    Parameters
    ----------
    wait_ms
        Start-up time of each constituent.
    warm
        Whether each has an instance.
    cost
        Of starting each.
    asked
        Expected requests within the horizon: composites x tiers.
    """
    shape = len(index.constituents), len(index.tiers)
    uses, saved_ms, alone, lost = np.zeros((4, *shape))
    found = StepValues(
        uses, saved_ms, alone, lost, np.zeros(shape[0]), np.zeros(index.step_parts.shape, np.bool_)
    )
    _weigh(
        StepInputs(index.step_service, index.step_parts, wait_ms, warm, cost, asked, index.weight),
        found,
    )
    return found
