"""How an outcome moves the mixture's weights and its calibration."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Record, Records, Table, array_of, inner, kernel, record
from streams.models.next_request.experts import M
from streams.models.next_request.mixing import GROUPS, WEIGHT_VECTORS
from streams.models.next_request.pending import PENDINGS, from_fixed
from streams.models.next_request.population import POPULATIONS

__all__ = ["learning_rates", "update"]

_COMMON = 0.1  # share of a step along the direction that all experts have in common


_RATES = record(
    step=np.float64,  # of the weights
    early=np.float64,  # how much longer the first steps are
    correction=np.float64,  # of the calibration
)


def learning_rates(step: float, early: float, correction: float) -> Records:
    """The lengths of the steps at an outcome, as the kernel takes them."""
    return np.array([(step, early, correction)], _RATES)


@inner
def move(weights: Record, change: npt.NDArray[np.float32], early: float) -> None:
    """Take one step, in place, longer by ``early / sqrt(steps so far)``."""
    experts, steps = weights.experts, weights.steps + np.float32(1.0)
    longer = np.float32(1.0 + early / math.sqrt(steps))
    for expert in range(M):
        experts[expert] += change[expert] * longer
    weights.steps = min(steps, np.float32(1e6))


@inner
def shorten(gradient: npt.NDArray[np.float32], step: float) -> None:
    """Make a step of the gradient, shorter along what the experts have in common; in place.

    They say much the same, so that direction is far steeper than those in which they differ.
    """
    common = 0.0
    for expert in range(M):
        common += gradient[expert] * (1.0 - _COMMON) / M
    for expert in range(M):
        gradient[expert] = (gradient[expert] - common) * step


@inner
def newton_step(weights: Table, inverse: Table, gradient: npt.NDArray[np.float32]) -> None:
    """Move the weights that all users share by a second-order step; in place.

    Idea: steps are scaled by the inverse of the summed outer products of the gradients, so the
    directions in which experts differ little are learnt as well as those in which they differ
    much, and steps shrink as evidence grows.

    Guarantees: regret O(m log T) against the best fixed weights while gradients are bounded.

    References
    ----------
    Hazan, Agarwal & Kale (2007), Logarithmic regret algorithms for online convex optimization,
    Machine Learning 69, section 3: the online Newton step.
    """
    step, curve = np.zeros(M), 1.0
    for one in range(M):
        for other in range(M):
            step[one] += inverse[one, other] * gradient[other]
        curve += step[one] * gradient[one]
    for one in range(M):
        for other in range(M):
            inverse[one, other] -= step[one] * step[other] / curve
        weights[one] += step[one] / curve


@kernel(PENDINGS, WEIGHT_VECTORS, WEIGHT_VECTORS, POPULATIONS, array_of(_RATES))
def update(
    pending: Records, user: Records, service: Records, population: Records, rates: Records
) -> None:
    """Move weights and calibration, in place, by the pending gradient of an outcome.

    Parameters
    ----------
    pending
        The gradient.
    user, service
        Weights of the user, and of all users after that service.
    population
        Has the weights that all users share, those by context, and the calibration.
    rates
        Lengths of the steps.
    """
    outcome, shared, rate = pending[0], population[0], rates[0]
    gradient = np.empty(M, np.float32)
    for expert in range(M):
        gradient[expert] = from_fixed(outcome.gradient[expert])
    newton_step(shared.newton.weights, shared.newton.inverse, gradient)
    shorten(gradient, rate.step)
    move(user[0], gradient, rate.early)
    move(service[0], gradient, rate.early)
    sets, shifts = shared.sets, shared.shifts
    for group in range(GROUPS):
        move(sets[min(outcome.sets[group], len(sets) - 1)], gradient, rate.early)
    shifts[min(outcome.bucket, len(shifts) - 1)] += rate.correction * from_fixed(outcome.error)
