"""How a request moves the mixture's weights and its calibration."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Record, Records, Table, array_of, inner, record
from streams.models.next_request.experts import M

__all__ = ["RATES", "learning_rates", "update"]

_COMMON = 0.1  # share of a step along the direction that all experts have in common


_RATES = record(
    step=np.float64,  # of the weights
    early=np.float64,  # how much longer the first steps are
    correction=np.float64,  # of the calibration
)
RATES = array_of(_RATES)


def learning_rates(step: float, early: float, correction: float) -> Records:
    """The lengths of the steps at a request, as the kernel takes them."""
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


@inner
def update(
    table: Table, forecast: Record, column: int, user: Record, service: Record, shared: Record,
    rate: Record,
) -> None:  # fmt: skip
    """Move weights and calibration, in place, once the service of a column came.

    Parameters
    ----------
    table, forecast
        The prediction of it.
    user, service
        Weights of the user, and of all users after the service before.
    shared
        Has the weights that all users share, those by context, and the calibration.
    rate
        Lengths of the steps.
    """
    gradient = np.empty(M, np.float32)
    for expert in range(M):
        gradient[expert] = math.log(table[1 + expert, column]) - forecast.expected[expert]
    newton_step(shared.newton.weights, shared.newton.inverse, gradient)
    shorten(gradient, rate.step)
    move(user, gradient, rate.early)
    move(service, gradient, rate.early)
    for at in forecast.sets:
        move(shared.sets[at], gradient, rate.early)
    error = (column == forecast.top) - table[0, forecast.top]
    shared.shifts[forecast.bucket] += rate.correction * error
