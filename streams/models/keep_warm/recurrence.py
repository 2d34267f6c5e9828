"""The probability that an instance is used in the next cell: by its idle time, and by seasons found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.keep_warm.history import LEVELS, PERIODS, age_of, look_back
from streams.models.kernels import Record, inner, record
from streams.models.logarithm import exponentials, logarithms

__all__ = [
    "DEEP",
    "MODELS",
    "RECURRENCE",
    "UNKNOWN",
    "chance_of",
    "forget_uses",
    "learn_cell",
    "mark_cell",
    "tell_odds",
]

_AGES = np.array(
    (1, 2, 3, 4, 6, 8, 12, 20, 40, 90, 240, 720)
)  # first cells of the stages of idleness
_COARSE = np.array((0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5))  # the same where seasons are told apart
_STAGES, _COARSE_STAGES = len(_AGES), 6
# Used one period ago (not, beside it, yes) and two periods ago: contexts, see `look_back`.
_CONTEXT = np.array((0, 1, 2, 1, 1, 3, 4, 5, 5))
_CONTEXTS = 6
_SEASONS = len(PERIODS)
MODELS = 1 + _SEASONS  # the first knows the idle time only
_PRIOR = 1.0  # cells that shrink a season's frequency towards that of the idle time alone
_DOUBT = 0.5  # cells of the prior of that one: a use is expected once in twice the idle time
_FORGET = 0.995  # counts and evidence kept from one used cell to the next
_MOST = 4096.0  # quiet cells counted in one place, so that what was silent for long is relearnt
DEEP = 15 * 1440  # cells of silence after which nothing of it is in the history
UNKNOWN = 255  # the stage of an instance that is in use, or has not been for so long

COUNTS = record(used=np.float32, quiet=np.float32)
RECURRENCE = record(
    by_age=(COUNTS, (_STAGES,)),
    by_season=(COUNTS, (_SEASONS, _CONTEXTS, _COARSE_STAGES)),
    evidence=(np.float64, (MODELS,)),  # log-likelihood of each model
    # Of each instance when the cell began:
    stages=(np.uint8, (LEVELS,)),
    seen=(np.uint8, (LEVELS, _SEASONS)),  # one and two of each period ago
)
Odds = npt.NDArray[np.float64]


@inner
def _stage(age: int) -> int:
    stage = 0
    while stage + 1 < _STAGES and age >= _AGES[stage + 1]:
        stage += 1
    return stage


@inner
def mark_cell(recurrence: Record, history: Record, cell: int, levels: int) -> None:
    """Note what is known of each instance as a cell begins."""
    for level in range(levels):
        age = age_of(history, level, cell)
        recurrence.stages[level] = _stage(age) if 0 < age < DEEP else UNKNOWN
        look_back(history, level, cell, recurrence.seen[level])


@inner
def _by_age(recurrence: Record, stage: int) -> float:
    counts = recurrence.by_age[stage]
    prior = 0.5 * min(0.5, 0.5 / _AGES[stage])
    return float((counts.used + prior) / (counts.used + counts.quiet + _DOUBT))


@inner
def _by_season(counts: Record, by_age: float) -> float:
    return float((counts.used + _PRIOR * by_age) / (counts.used + counts.quiet + _PRIOR))


@inner
def tell_odds(recurrence: Record, odds: Odds) -> None:
    """Fill in the probability of each model to be the best, by what they have foretold."""
    exponentials(recurrence.evidence - recurrence.evidence.max(), odds)
    odds /= odds.sum()


@inner
def chance_of(recurrence: Record, level: int, odds: Odds) -> float:
    """The probability that more than `level` instances are in use in a cell that begins."""
    stage = recurrence.stages[level]
    if stage == UNKNOWN:
        return 0.0
    by_age = _by_age(recurrence, stage)
    chance = float(odds[0]) * by_age
    for season in range(_SEASONS):
        context = _CONTEXT[recurrence.seen[level, season]]
        counts = recurrence.by_season[season, context, _COARSE[stage]]
        chance += odds[1 + season] * _by_season(counts, by_age)
    return chance


@inner
def _count(counts: Record, used: bool) -> None:
    if used:
        counts.used = np.float32(_FORGET) * counts.used + np.float32(1.0)
        counts.quiet *= np.float32(_FORGET)
    else:
        counts.quiet += np.float32(1.0)
        if counts.quiet > _MOST:
            counts.used *= np.float32(0.5)
            counts.quiet *= np.float32(0.5)


@inner
def forget_uses(recurrence: Record) -> None:
    """Let older evidence for the models count less."""
    for model in range(MODELS):
        recurrence.evidence[model] *= _FORGET


@inner
def learn_cell(recurrence: Record, level: int, used: bool) -> None:
    """Learn whether more than `level` instances were in use in a cell that ends."""
    stage = recurrence.stages[level]
    if stage == UNKNOWN:
        return
    foretold, evidence = np.empty(MODELS), np.empty(MODELS)
    by_age = foretold[0] = _by_age(recurrence, stage)
    for season in range(_SEASONS):
        context = _CONTEXT[recurrence.seen[level, season]]
        counts = recurrence.by_season[season, context, _COARSE[stage]]
        foretold[1 + season] = _by_season(counts, by_age)
        _count(counts, used)
    _count(recurrence.by_age[stage], used)
    if not used:
        foretold[:] = 1.0 - foretold
    logarithms(foretold, evidence)
    for model in range(MODELS):
        recurrence.evidence[model] += evidence[model]
