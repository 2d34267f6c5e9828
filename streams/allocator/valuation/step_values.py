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

__all__ = ["Flags", "StepValues", "step_values"]

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
    asked: Floats  # by constituent, as the three after it: uses of all tiers
    worth: Floats  # value of all that is saved
    gain: Floats  # of all tiers, if it alone became warm
    loss: Floats  # of all tiers, if it alone ended
    joint: Flags  # steps x layers: completed only by several starts, which may pay together


INPUTS = named(
    StepInputs, composite=I8, parts=I8x2, wait_ms=F8, warm=B1, cost=F8, asked=F8x2, weight=F8
)
VALUES = named(
    StepValues,
    uses=F8x2,
    saved_ms=F8x2,
    alone=F8x2,
    lost=F8x2,
    at_most=F8,
    asked=F8,
    worth=F8,
    gain=F8,
    loss=F8,
    joint=B1x2,
)


@inner
def _slowest_first(parts: Numbers, step: int, wait_ms: Floats, order: Numbers) -> int:
    """Sort the constituents of a step; returns their number."""
    count = 0
    for place in range(parts.shape[1]):
        part = parts[step, place]
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
def _next_cold(warm: Flags, wait_ms: Floats, order: Numbers, at: int, count: int) -> int:
    """Position of the next cold constituent that takes time to start; `count` if there is none."""
    while at < count and (warm[order[at]] or wait_ms[order[at]] <= 0.0):
        at += 1
    return at


@inner
def _wait(wait_ms: Floats, order: Numbers, at: int, count: int) -> float:
    """Start-up time of the constituent at a position; 0 behind the last."""
    return wait_ms[order[at]] if at < count else 0.0


@inner
def _sum_up(found: StepValues, weight: Floats) -> None:
    """Sum over tiers, by constituent."""
    uses, saved_ms, alone, lost, _, asked, worth, gain, loss, _ = found
    for part in range(len(worth)):
        for tier in range(len(weight)):
            asked[part] += uses[part, tier]
            worth[part] += saved_ms[part, tier] * weight[tier] / 1000.0
            gain[part] += alone[part, tier]
            loss[part] += lost[part, tier]


@inner
def _mark(known: StepInputs, at_most: Floats, joint: Flags) -> None:
    """Mark the layers of a step that several starts complete, except those that cannot pay.

    The gain of a set is at most the value of all that its members block.
    """
    composite, parts, wait_ms, warm, cost, asked, _ = known
    order = np.empty(parts.shape[1], np.int64)
    for step in range(len(composite)):
        if not asked[composite[step]].any():
            continue
        count = _slowest_first(parts, step, wait_ms, order)
        cold, most, least = 0, 0.0, 0.0
        for at in range(count):
            part, own_ms = order[at], wait_ms[order[at]]
            if not warm[part] and own_ms > 0.0:
                cold += 1
                most += at_most[part]
                least += cost[part]
            saves = own_ms > _wait(wait_ms, order, at + 1, count)
            joint[step, at] = saves and cold > 1 and most > least


@kernel(INPUTS, VALUES)
def _weigh(known: StepInputs, found: StepValues) -> None:
    # A named tuple is unpacked once: each access to a field would count references to its array.
    composite, parts, wait_ms, warm, _, asked, weight = known
    uses, saved_ms, alone, lost, at_most, _, _, _, _, joint = found
    order = np.empty(parts.shape[1], np.int64)
    for step in range(len(composite)):
        row = composite[step]
        if not asked[row].any():
            continue
        count = _slowest_first(parts, step, wait_ms, order)
        first = _next_cold(warm, wait_ms, order, 0, count)
        second = _next_cold(warm, wait_ms, order, first + 1, count)
        ahead_ms = _wait(wait_ms, order, first, count)
        alone_ms = ahead_ms - _wait(wait_ms, order, second, count)
        share_ms = 0.0
        for at in range(count - 1, -1, -1):
            part, own_ms = order[at], wait_ms[order[at]]
            # The Shapley value in the maximum, of the airport game: all share the time of the
            # fastest, all but it the time up to the next (Littlechild and Owen, Management
            # Science 20(3), 1973).
            share_ms += (own_ms - _wait(wait_ms, order, at + 1, count)) / (at + 1)
            for tier in range(len(weight)):
                worth = asked[row, tier] * weight[tier] / 1000.0
                uses[part, tier] += asked[row, tier]
                saved_ms[part, tier] += asked[row, tier] * share_ms
                alone[part, tier] += alone_ms * worth if at == first else 0.0
                lost[part, tier] += (own_ms - ahead_ms) * worth if at < first else 0.0
                at_most[part] += 0.0 if warm[part] else own_ms * worth
    _sum_up(found, weight)
    if len(order) > 1:
        _mark(known, at_most, joint)


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
    parts = len(index.constituents)
    uses, saved_ms, alone, lost = np.zeros((4, parts, len(index.tiers)))
    joint = np.zeros(index.step_parts.shape, np.bool_)
    at_most, asked_for, worth, gain, loss = np.zeros((5, parts))
    found = StepValues(uses, saved_ms, alone, lost, at_most, asked_for, worth, gain, loss, joint)
    _weigh(
        StepInputs(index.step_service, index.step_parts, wait_ms, warm, cost, asked, index.weight),
        found,
    )
    return found
