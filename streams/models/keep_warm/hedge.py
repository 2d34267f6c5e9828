"""Experts that each name how many instances to keep; each is charged what that would have cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.models.keep_warm.history import (
    CELL_MS,
    HISTORY,
    LEVELS,
    NEVER_MS,
    PERIODS,
    in_use,
    occupy,
    top_level,
)  # fmt: skip
from streams.models.keep_warm.idle_times import IDLE_TIMES, count_idle, within_window
from streams.models.keep_warm.recurrence import MODELS, RECURRENCE, chance_of, tell_odds
from streams.models.kernels import Record, inner, record
from streams.models.logarithm import exponentials

__all__ = [
    "CALLER", "EXPERTS", "NAMED", "PAST", "PRIOR", "RATE", "TIMERS_MS", "Weights",
    "charge", "join", "keeps", "name", "past_of", "serve", "settle", "weigh",
]  # fmt: skip

_FOREVER_MS = 1 << 60
_SECONDS = (0, 5, 15, 30)
_MINUTES = (1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1440)
_DAYS = (2, 4, 7)
_ENDS_MS = (
    *(1_000 * s for s in _SECONDS),
    *(60_000 * m for m in _MINUTES),
    *(86_400_000 * d for d in _DAYS),
)
TIMERS_MS = np.array([*_ENDS_MS, _FOREVER_MS])
_TIMERS = len(TIMERS_MS)
NAMED = _TIMERS  # the experts from here on name a number for a whole cell
_HISTOGRAM = NAMED + 2 * len(PERIODS)
_FORECAST = _HISTOGRAM + 1
CALLER = _FORECAST + 1  # what the caller names
EXPERTS = CALLER + 1
RATE = 1.0  # of learning: the weight of an expert falls e times with each cold start that it had
_KEPT = 0.995  # of a loss, from one used cell to the next
_FAMILIES = (_TIMERS, 2 * len(PERIODS), 1, 1)  # have the same weight at first, the caller as all
PRIOR = -np.log([*(2 * len(_FAMILIES) * np.repeat(_FAMILIES, _FAMILIES)), 2])  # log weights


def past_of(experts: int) -> np.dtype[Any]:
    """The form of a past with so many experts."""
    return record(
        cell=np.int64,  # number of the current one
        now_ms=np.int64,  # all experts are charged up to this time
        peak=np.int64,  # most instances in use at once in this cell, so far
        shared=np.int64,  # uses of the instance that was taken last
        vote=np.int64,  # instances that the caller advises to keep now; it is charged for `named`
        history=HISTORY,
        recurrence=RECURRENCE,
        idle=IDLE_TIMES,
        named=(np.int64, (experts,)),  # instances to keep in this cell
        prior=(np.float64, (experts,)),  # log of the weight without losses
        loss=(np.float64, (experts,)),  # up to this cell, in cold starts
        held_ms=(np.int64, (experts,)),  # in this cell: idle instances kept
        waited=(np.float64, (experts,)),  # by uses: each the share of a start that was left
        ready_ms=(np.int64, (experts,)),  # when the last start that a use waited for has ended
        ready=(np.int64, (experts,)),  # instances that are ready before that
        started=(np.int64, (experts,)),  # instances started before a use
    )


PAST = past_of(EXPERTS)
Weights = npt.NDArray[np.float64]


@inner
def _name_keeps(named: npt.NDArray[np.int64], peak: int, expert: int, level: int) -> bool:
    """Whether an expert that names numbers for a cell keeps more than `level` instances in it."""
    return bool(level < named[expert] or (level < peak and expert < CALLER))


@inner
def keeps(past: Record, expert: int, level: int, at_ms: int) -> bool:
    """Whether an expert keeps more than `level` instances at a time in the current cell."""
    if expert >= NAMED:
        return _name_keeps(past.named, past.peak, expert, level)
    end_ms = past.history.ends_ms[level]
    return bool(end_ms > NEVER_MS and at_ms - end_ms < TIMERS_MS[expert])


@inner
def charge(past: Record, until_ms: int) -> None:
    """Charge all experts for what they keep idle up to a time in the current cell."""
    ends_ms, held_ms, named, peak = past.history.ends_ms, past.held_ms, past.named, past.peak
    levels = max(top_level(past.history), named[CALLER])
    for level in range(min(levels, LEVELS)):
        end_ms = ends_ms[level]
        since_ms = max(past.now_ms, end_ms)
        for expert in range(NAMED):
            held_ms[expert] += max(0, min(until_ms, end_ms + TIMERS_MS[expert]) - since_ms)
        whole_ms = max(0, until_ms - since_ms)
        for expert in range(NAMED, EXPERTS):
            if _name_keeps(named, peak, expert, level):
                held_ms[expert] += whole_ms
    past.now_ms = until_ms


@inner
def _wait_ms(past: Record, expert: int, level: int, at_ms: int, start_ms: int) -> int:
    """How long a use above `level` others waits under an expert whose start has not ended.

    For the rest of the start, or until so few are in use that one which is ready is free.
    """
    left_ms, ready = min(start_ms, past.ready_ms[expert] - at_ms), past.ready[expert]
    if left_ms <= 0 or level < ready:
        return 0
    return int(min(left_ms, past.history.ends_ms[ready - 1] - at_ms) if ready > 0 else left_ms)


@inner
def _begin(past: Record, expert: int, level: int, at_ms: int, start_ms: int) -> None:
    """Let an expert begin a start for a use above `level` others, of which it keeps too few."""
    ready = level
    while ready > 0 and not keeps(past, expert, ready - 1, at_ms):
        ready -= 1
    past.ready_ms[expert], past.ready[expert] = at_ms + start_ms, ready


@inner
def serve(past: Record, at_ms: int, end_ms: int, start_ms: int, start: float) -> None:
    """Take one more instance into use, and charge those who would have had to start it.

    Whoever comes during a start waits for the rest of it: users often come together. Where others
    are in use each has a start of its own, which costs the same if one of those is free before.

    Parameters
    ----------
    start
        Cost of a start, in waits with their start.
    """
    history, level = past.history, in_use(past.history, at_ms)
    if level >= LEVELS:
        return
    for expert in range(EXPERTS):
        missing = not keeps(past, expert, level, at_ms)
        if missing and past.ready_ms[expert] <= at_ms:
            _begin(past, expert, level, at_ms, start_ms)
        waits = _wait_ms(past, expert, level, at_ms, start_ms) / start_ms
        if missing and level > 0:
            past.waited[expert] += start * (1.0 - waits)
        past.waited[expert] += waits
    if history.ends_ms[level] > NEVER_MS:
        count_idle(past.idle, at_ms - history.ends_ms[level])
    occupy(history, level, end_ms)
    past.shared = 1
    past.peak = max(past.peak, level + 1)


@inner
def join(past: Record, at_ms: int, end_ms: int, at_once: int, start_ms: int) -> bool:
    """Use the instance that was taken last, if it is in use and has room for one more."""
    level = in_use(past.history, at_ms)
    if past.shared >= at_once or level == 0:
        return False
    past.shared += 1
    for expert in range(EXPERTS):
        past.waited[expert] += _wait_ms(past, expert, level - 1, at_ms, start_ms) / start_ms
    past.history.ends_ms[0] = max(past.history.ends_ms[0], end_ms)
    return True


@inner
def settle(past: Record, price: float, start: float) -> None:
    """Add the charges of a cell to the losses; older ones count less after a use."""
    kept = _KEPT if past.peak > 0 else 1.0
    loss, waited, started, held_ms = past.loss, past.waited, past.started, past.held_ms
    for expert in range(EXPERTS):
        loss[expert] = kept * loss[expert] + (
            waited[expert] + start * started[expert] + price * held_ms[expert]
        )
        waited[expert] = 0.0
        started[expert] = held_ms[expert] = 0


@inner
def _rename(past: Record, expert: int, number: int, peak: int) -> None:
    past.started[expert] += max(0, number - max(past.named[expert], peak))
    past.named[expert] = number


@inner
def _repeated(past: Record, levels: int, period: int, twice: bool) -> int:
    """How many instances were in use about a period ago, or about one and two periods ago."""
    level = 0
    while level < levels:
        seen = past.recurrence.seen[level, period]
        if seen < 3 or (twice and seen % 3 == 0):
            return level
        level += 1
    return level


@inner
def _foreseen(past: Record, levels: int, peak: int, price: float, start: float) -> int:
    """How many instances are worth keeping in this cell by the probability of their use."""
    odds = np.empty(MODELS)
    tell_odds(past.recurrence, odds)
    chance, had = 0.0, max(past.named[_FORECAST], peak)
    for level in range(levels - 1, -1, -1):
        chance = max(chance, chance_of(past.recurrence, level, odds))
        cost = (1.0 - chance) * price * CELL_MS + (0.0 if level < had else start)
        if chance > cost:
            return level + 1
    return 0


@inner
def name(past: Record, peak: int, price: float, start: float) -> None:
    """Let the experts name their numbers for a cell that begins.

    Parameters
    ----------
    peak
        Most instances in use at once in the cell before.
    """
    levels = top_level(past.history)
    for period in range(len(PERIODS)):
        for twice in range(2):
            number = _repeated(past, levels, period, twice > 0)
            _rename(past, NAMED + 2 * period + twice, number, peak)
    number = 0
    for level in range(levels):
        if within_window(past.idle, past.now_ms - past.history.ends_ms[level]):
            number = level + 1
    _rename(past, _HISTOGRAM, number, peak)
    _rename(past, _FORECAST, _foreseen(past, levels, peak, price, start), peak)


@inner
def weigh(past: Record, weights: Weights) -> None:
    """Fill in the weight of each expert, by what it was charged up to this cell and its waits since."""
    logs, best = np.empty(EXPERTS), -math.inf
    prior, loss, waited = past.prior, past.loss, past.waited
    for expert in range(EXPERTS):
        logs[expert] = prior[expert] - RATE * (loss[expert] + waited[expert])
        best = max(best, logs[expert])
    logs -= best
    exponentials(logs, weights)
    weights /= weights.sum()
