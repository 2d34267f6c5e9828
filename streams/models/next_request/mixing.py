"""Weights of a mixture: learnt online, in small sets chosen by context."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.models.kernels import inner
from streams.models.logarithm import logarithms
from streams.models.next_request.backoff import Table
from streams.models.next_request.candidates import Numbers
from streams.models.next_request.experts import MEMBERS, ORDERS

__all__ = ["BUCKETS", "NOTE", "SETS", "choose_sets", "mix", "move", "newton_step", "written"]

Weights = npt.NDArray[np.float32]  # one for each member, then the number of steps so far

M = len(MEMBERS)
BUCKETS = 16  # of the top probability, each with a correction of its own
_CAUTION = 100.0  # squared gradient that halves the first steps
_COMMON = 0.1  # share of a step along the direction that all members have in common
_LENGTHS, _RUNS, _RANKS = 12, 7, 16
_VISITS = 3
SETS = _LENGTHS + _RUNS + (len(ORDERS) + 1) * _VISITS + _RANKS  # of weights, in four groups
GROUPS = 4
# What waits for feedback: gradient, surprise, bucket, the sets and the last service.
NOTE = M + 3 + GROUPS
_FINE, _ZERO = 2048.0, 32768  # fixed point: steps in one, and where zero is


@inner
def choose_sets(
    sets: npt.NDArray[np.int64], length: int, run: int, visits: Numbers, ranks: int
) -> None:
    """Fill in the sets for a history of this length, run of repeats, depth, and ranks of late."""
    bits, depth = 0, 0
    while length >> bits:
        bits += 1
    while depth < len(visits) and visits[depth]:
        depth += 1
    often = min(visits[depth - 1], _VISITS - 1) if depth > 1 else 0
    sets[0] = min(bits, _LENGTHS - 1)
    sets[1] = _LENGTHS + min(run, _RUNS - 1)
    sets[2] = _LENGTHS + _RUNS + depth * _VISITS + often
    sets[3] = SETS - _RANKS + ranks


@inner
def mix(table: Table, weights: Table, shifts: Table, expected: Table) -> tuple[int, int]:
    """Fill in the mixture, row 0, and the members' expected log-probabilities; top and bucket.

    The mixture is the product of the members' probabilities, each to the power of its weight,
    normalised. Then the odds of the most probable service are corrected by the shift that was
    learnt for probabilities like its own; the others keep their proportions.

    References
    ----------
    Mattern (2012), Mixing strategies in data compression, DCC: logistic mixing as online
    gradient descent, its regret. Mahoney (2005), Adaptive weighing of context models for
    lossless data compression: weight sets chosen by context.
    """
    width = table.shape[1]
    logs, mixed = np.empty((M, width)), table[0]
    logarithms(table[1:].reshape(-1), logs.reshape(-1))
    for column in range(width):
        mixed[column] = 0.0
    for member in range(M):
        for column in range(width):
            mixed[column] += weights[member] * logs[member, column]
    top, whole = 0, 0.0
    for column in range(width):
        if mixed[column] > mixed[top]:
            top = column
    highest = mixed[top]
    for column in range(width):
        mixed[column] = math.exp(mixed[column] - highest)
        whole += mixed[column]
    for column in range(width):
        mixed[column] /= whole
    for member in range(M):
        mean = 0.0
        for column in range(width):
            mean += mixed[column] * logs[member, column]
        expected[member] = mean
    return top, calibrate(mixed, top, shifts)


@inner
def calibrate(mixed: Table, top: int, shifts: Table) -> int:
    """Correct the odds of the most probable, in place; the bucket of its probability."""
    first = mixed[top]
    bucket = min(int(first * BUCKETS), BUCKETS - 1)
    if first < 1.0:
        odds = first / (1.0 - first) * math.exp(shifts[bucket])
        shifted = odds / (1.0 + odds)
        for column in range(len(mixed)):
            mixed[column] *= (1.0 - shifted) / (1.0 - first)
        mixed[top] = shifted
    return bucket


@inner
def written(value: float) -> int:
    """A number in fixed point, from -16 to 16."""
    return int(min(max(round(value * _FINE), 1 - _ZERO), _ZERO - 1)) + _ZERO


@inner
def read(value: int) -> float:
    """The number of a fixed point."""
    return (np.int64(value) - _ZERO) / _FINE


@inner
def move(weights: Weights, change: Weights, early: float) -> None:
    """Take one step, in place, longer by ``early / sqrt(steps so far)``."""
    steps = weights[M] + np.float32(1.0)
    longer = np.float32(1.0 + early / math.sqrt(steps))
    for member in range(M):
        weights[member] += change[member] * longer
    weights[M] = min(steps, np.float32(1e6))


@inner
def shorten(gradient: Weights, step: float) -> None:
    """Make a step of the gradient, shorter along what the members have in common; in place.

    They say much the same, so that direction is far steeper than those in which they differ.
    """
    common = 0.0
    for member in range(M):
        common += gradient[member] * (1.0 - _COMMON) / M
    for member in range(M):
        gradient[member] = (gradient[member] - common) * step


@inner
def newton_step(newton: Table, gradient: Weights) -> None:
    """Move the weights that all users share, row 0, by a second-order step; in place.

    Idea: steps are scaled by the inverse of the summed outer products of the gradients, the
    other rows, so the directions in which members differ little are learnt as well as those in
    which they differ much, and steps shrink as evidence grows.

    Guarantees: regret O(m log T) against the best fixed weights while gradients are bounded.

    References
    ----------
    Hazan, Agarwal & Kale (2007), Logarithmic regret algorithms for online convex optimization,
    Machine Learning 69, section 3: the online Newton step.
    """
    step, curve = np.zeros(M), 1.0
    for one in range(M):
        for other in range(M):
            step[one] += newton[1 + one, other] * gradient[other]
        curve += step[one] * gradient[one]
    for one in range(M):
        for other in range(M):
            newton[1 + one, other] -= step[one] * step[other] / curve
        newton[0, one] += step[one] / curve


def new_newton() -> Table:
    """No weights yet, and the inverse curvature before the first step."""
    return np.vstack([np.zeros(M), np.eye(M) / _CAUTION])
