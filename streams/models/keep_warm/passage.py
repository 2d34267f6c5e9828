"""The past of a constituent moved on in time: what each use, each cell and each silence changes."""

from __future__ import annotations

import numpy as np

from streams.models.keep_warm.hedge import (
    CALLER,
    EXPERTS,
    NAMED,
    PAST,
    TIMERS_MS,
    Weights,
    charge,
    join,
    keeps,
    name,
    serve,
    settle,
    weigh,
)  # fmt: skip
from streams.models.keep_warm.history import (
    CELL_MS,
    DAY,
    LEVELS,
    age_of,
    in_use,
    remember,
    top_level,
)  # fmt: skip
from streams.models.keep_warm.recurrence import DEEP, forget_uses, learn_cell, mark_cell
from streams.models.kernels import F8, FLOAT, INT, Record, Records, array_of, inner, kernel

__all__ = ["advance", "advised", "change_ms", "speak", "tell_weights", "use"]

PASTS = array_of(PAST)
LONG = 10_000  # days


@inner
def _next_cell(past: Record, price: float, start: float) -> None:
    """Close the current cell, without further uses, and begin the next one."""
    charge(past, (past.cell + 1) * CELL_MS)
    settle(past, price, start)
    history, recurrence, peak = past.history, past.recurrence, past.peak
    for level in range(top_level(history)):
        learn_cell(recurrence, level, level < peak)
    if peak > 0:
        forget_uses(recurrence)
    remember(history, past.cell, peak)
    past.cell += 1
    past.peak = in_use(history, past.now_ms)
    mark_cell(recurrence, history, past.cell, top_level(history))
    name(past, peak, price, start)


@inner
def _silent_day(past: Record, cell: int, price: float, start: float) -> None:
    """Pass cells of a silence of which nothing is in the history, at most to the next day.

    Of what is longer than `LONG` days all whole days are passed at once: no time blocks a process.
    """
    days = 1 if cell - past.cell < LONG * DAY else cell // DAY - past.cell // DAY
    past.cell = min(cell, (past.cell // DAY + days) * DAY)
    charge(past, past.cell * CELL_MS)
    past.peak = 0
    if past.cell % DAY == 0:
        settle(past, price, start)


@inner
def _pass(past: Record, at_ms: int, price: float, start: float) -> None:
    cell = at_ms // CELL_MS
    while past.cell < cell:
        if past.peak == 0 and age_of(past.history, 0, past.cell) > DEEP:
            _silent_day(past, cell, price, start)
        else:
            _next_cell(past, price, start)
    if at_ms > past.now_ms:
        charge(past, at_ms)


@kernel(PASTS, INT, FLOAT, FLOAT)
def advance(pasts: Records, at_ms: int, price: float, start: float) -> None:
    """Let time pass without a use; the first call only sets the time."""
    past = pasts[0]
    if past.cell < 0:
        past.cell, past.now_ms = at_ms // CELL_MS, at_ms
    _pass(past, at_ms, price, start)


@kernel(PASTS, INT, INT, INT, INT, FLOAT)
def use(pasts: Records, end_ms: int, count: int, at_once: int, start_ms: int, start: float) -> None:
    """Let so many requests come, each for an instance until this time.

    Parameters
    ----------
    start_ms, start
        How long a start takes, and what it costs in waits with their start.
    """
    past, end_ms = pasts[0], max(pasts[0].now_ms, end_ms)
    for _ in range(min(count, LEVELS * at_once)):
        if not join(past, past.now_ms, end_ms, at_once, start_ms):
            serve(past, past.now_ms, end_ms, start_ms, start)


@kernel(PASTS, INT, INT)
def speak(pasts: Records, number: int, ready: int) -> None:
    """Let the caller name the number to keep from now on, and how many it has so far."""
    past = pasts[0]
    had = max(past.vote, past.named[CALLER], in_use(past.history, past.now_ms))
    past.started[CALLER] += max(0, number - had)
    past.named[CALLER], past.vote = ready, number


@inner
def _share(past: Record, weights: Weights, level: int) -> float:
    """The weight of the experts that keep more than `level` instances."""
    share = weights[CALLER] if level < past.vote else 0.0
    for expert in range(CALLER):
        if keeps(past, expert, level, past.now_ms):
            share += weights[expert]
    return share


@inner
def _advice(past: Record, weights: Weights) -> int:
    number = 0
    while number < LEVELS and _share(past, weights, number) > 0.5:
        number += 1
    return number


@inner
def _next_end(past: Record) -> int:
    """When the next timer ends in this cell; the end of the cell, or of a silent day, if none does."""
    if past.peak == 0 and age_of(past.history, 0, past.cell) > DEEP:
        return int((past.cell // DAY + 1) * DAY * CELL_MS)
    next_ms = (past.cell + 1) * CELL_MS
    for level in range(top_level(past.history)):
        for timer in range(NAMED):
            end_ms = past.history.ends_ms[level] + TIMERS_MS[timer]
            if past.now_ms < end_ms < next_ms:
                next_ms = end_ms
    return int(next_ms)


@kernel(PASTS, F8)
def tell_weights(pasts: Records, weights: Weights) -> None:
    """Fill in the weight of each expert."""
    weigh(pasts[0], weights)


@kernel(PASTS)
def advised(pasts: Records) -> int:
    """The most instances that experts with more than half of the weight keep now."""
    weights = np.empty(EXPERTS)
    weigh(pasts[0], weights)
    return _advice(pasts[0], weights)


@kernel(PASTS, FLOAT, FLOAT, INT)
def change_ms(pasts: Records, price: float, start: float, limit_ms: int) -> int:
    """Advance to when the advice changes if no use comes, or to the limit; returns that time."""
    past, weights = pasts[0], np.empty(EXPERTS)
    weigh(past, weights)
    advice, cell = _advice(past, weights), past.cell
    while past.now_ms < limit_ms:
        _pass(past, min(limit_ms, _next_end(past)), price, start)
        if past.cell != cell:
            weigh(past, weights)
            cell = past.cell
        if _advice(past, weights) != advice:
            break
    return int(past.now_ms)
