"""The mixture: experts weighted in the logarithm, by sets of weights chosen by context."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.models.arrival.phases import PHASES
from streams.models.kernels import Records, Table, array_of, inner, record
from streams.models.next_request.candidates import Items
from streams.models.next_request.experts import INITIAL_WEIGHTS, ORDERS, M

__all__ = [
    "BUCKETS", "FORECAST", "FORECASTS", "GROUPS", "SETS", "WEIGHTS", "WEIGHT_VECTORS", "calibrate",
    "choose_sets", "expect", "initial_weights", "mix", "no_weights", "normalise",
]  # fmt: skip

BUCKETS = 16  # of the top probability, each with a correction of its own
_LENGTHS, _RUNS, _RANKS = 12, 7, 16
_VISITS = 3
SETS = _LENGTHS + _RUNS + (len(ORDERS) + 1) * _VISITS + _RANKS + PHASES  # of weights, in groups
GROUPS = 5  # by length of history, run of repeats, depth of context, latest ranks, and phase

WEIGHTS = record(experts=(np.float32, (M,)), steps=np.float32)  # and updates so far
WEIGHT_VECTORS = array_of(WEIGHTS)
# How a prediction came about, for what is learnt from its outcome.
FORECAST = record(
    expected=(np.float64, (M,)),  # each expert's mean log-probability under the mixture
    top=np.int64,  # column of the most probable
    bucket=np.int64,  # of its probability, before it was corrected
    cell=np.int64,  # of the kinds of requests
    sets=(np.int64, (GROUPS,)),  # of weights
)
FORECASTS = array_of(FORECAST)


def no_weights() -> Records:
    """A vector of weights that has learnt nothing."""
    return np.zeros(1, WEIGHTS)


def initial_weights() -> Records:
    """The weights that all users start with."""
    weights = no_weights()
    weights["experts"] = [*INITIAL_WEIGHTS.values()]
    return weights


@inner
def choose_sets(
    sets: npt.NDArray[np.int64], length: int, run: int, visits: Items, ranks: int, phase: int
) -> None:
    """Fill in the sets for a history of this length, run, depth, ranks of late, and a phase."""
    bits, depth = 0, 0
    while length >> bits:
        bits += 1
    while depth < len(visits) and visits[depth]:
        depth += 1
    often = min(visits[depth - 1], _VISITS - 1) if depth > 1 else 0
    sets[0] = min(bits, _LENGTHS - 1)
    sets[1] = _LENGTHS + min(run, _RUNS - 1)
    sets[2] = _LENGTHS + _RUNS + depth * _VISITS + often
    sets[3] = SETS - PHASES - _RANKS + ranks
    sets[4] = SETS - PHASES + phase


@inner
def mix(mixed: Table, logs: Table, weights: Table) -> int:
    """Fill in the mixture, before it is corrected; returns its top column.

    The mixture is the product of the experts' probabilities, each to the power of its weight,
    normalised.

    References
    ----------
    Mattern (2012), Mixing strategies in data compression, DCC: logistic mixing as online
    gradient descent, its regret. Mahoney (2005), Adaptive weighing of context models for
    lossless data compression: weight sets chosen by context.
    """
    width = len(mixed)
    for column in range(width):
        mixed[column] = 0.0
    for expert in range(M):
        for column in range(width):
            mixed[column] += weights[expert] * logs[expert, column]
    return normalise(mixed)


@inner
def expect(mixed: Table, logs: Table, expected: Table) -> None:
    """Fill in each expert's mean log-probability under the mixture, before it is corrected."""
    for expert in range(M):
        mean = 0.0
        for column in range(len(mixed)):
            mean += mixed[column] * logs[expert, column]
        expected[expert] = mean


@inner
def normalise(mixed: Table) -> int:
    """Turn logarithms into probabilities that sum to 1, in place; the most probable column."""
    top, whole = 0, 0.0
    for column in range(len(mixed)):
        if mixed[column] > mixed[top]:
            top = column
    highest = mixed[top]
    for column in range(len(mixed)):
        mixed[column] = math.exp(mixed[column] - highest)
        whole += mixed[column]
    for column in range(len(mixed)):
        mixed[column] /= whole
    return top


@inner
def calibrate(mixed: Table, top: int, shifts: Table) -> int:
    """Correct the odds of the most probable, in place; the bucket of its probability.

    By the shift that was learnt for probabilities like its own; the others keep their proportions.
    """
    first = mixed[top]
    bucket = min(int(first * BUCKETS), BUCKETS - 1)
    if first < 1.0:
        odds = first / (1.0 - first) * math.exp(shifts[bucket])
        shifted = odds / (1.0 + odds)
        for column in range(len(mixed)):
            mixed[column] *= (1.0 - shifted) / (1.0 - first)
        mixed[top] = shifted
    return bucket
