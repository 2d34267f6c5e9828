"""Weights of a mixture: learnt online, in small sets chosen by context."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from streams.models.wire import Reader, Writer

__all__ = ["BUCKETS", "Mixed", "Newton", "Weights", "mixed", "move", "shortened"]

Weights = npt.NDArray[np.float32]  # one for each member, then the number of steps so far

_CAUTION = 100.0  # squared gradient that halves the first steps
BUCKETS = 16  # of the top probability, each with a correction of its own
_COMMON = 0.1  # share of a step along the direction that all members have in common


@dataclass(frozen=True, slots=True)
class Mixed:
    """A mixture's answer."""

    logs: npt.NDArray[np.float64]  # members x columns: log-probabilities
    raw: npt.NDArray[np.float64]  # by column, before calibration
    probabilities: npt.NDArray[np.float64]  # by column
    top: int  # column of the most probable before calibration
    bucket: int  # of its probability

    def gradient(self, column: int) -> npt.NDArray[np.float64]:
        """Of the log-probability of `column`, by each member's weight."""
        gradient: npt.NDArray[np.float64] = self.logs[:, column] - self.logs.dot(self.raw)
        return gradient

    def surprise(self, column: int) -> float:
        """By how much the most probable one's hit, 1 or 0, exceeded its probability."""
        return float(column == self.top) - float(self.probabilities[self.top])


class Newton:
    """Weights that all users share, learnt with second-order steps.

    Idea: steps are scaled by the inverse of the summed outer products of the gradients, so the
    directions in which members differ little are learnt as well as those in which they differ
    much, and steps shrink as evidence grows.

    Guarantees: regret O(m log T) against the best fixed weights while gradients are bounded.

    Parameters
    ----------
    members
        Number of members.

    Examples
    --------
    >>> newton = Newton(2)
    >>> for _ in range(100):
    ...     newton.learn_one(np.array([1.0, -1.0]))
    >>> bool(newton.weights[0] > 0 > newton.weights[1])
    True

    References
    ----------
    Hazan, Agarwal & Kale (2007), Logarithmic regret algorithms for online convex optimization,
    Machine Learning 69, section 3: the online Newton step.
    """

    __slots__ = ("_inverse", "weights")

    def __init__(self, members: int) -> None:
        self.weights: npt.NDArray[np.float64] = np.zeros(members)
        self._inverse: npt.NDArray[np.float64] = np.eye(members) / _CAUTION

    def learn_one(self, gradient: npt.NDArray[np.floating]) -> None:
        """Take one step along a gradient of the log-probability of what came."""
        step = self._inverse.dot(gradient)
        scale = 1.0 / (1.0 + float(step.dot(gradient)))
        self._inverse -= np.outer(step, step * scale)
        self.weights += step * scale

    def write(self, out: Writer) -> None:
        """Append weights and curvature, in double precision: they must stay exact."""
        out.blob(self.weights.astype("<f8").tobytes())
        out.blob(self._inverse.astype("<f8").tobytes())

    @classmethod
    def read(cls, data: Reader) -> Self:
        """What `write` appended."""
        weights = np.frombuffer(data.blob(), "<f8").astype(np.float64)
        newton = cls(len(weights))
        newton.weights = weights
        inverse = np.frombuffer(data.blob(), "<f8").astype(np.float64)
        newton._inverse = inverse.reshape(len(weights), len(weights))
        return newton


def mixed(
    rows: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], shifts: Weights | None
) -> Mixed:
    """The product of the members' probabilities, each to the power of its weight, normalised.

    Then the odds of the most probable one are corrected by the shift that was learnt for
    probabilities like its own; the others keep their proportions.
    """
    logs = np.log(rows)
    scores = weights.dot(logs)
    top = int(scores.argmax())
    scores -= scores[top]
    np.exp(scores, out=scores)
    raw = scores / scores.sum()
    first = float(raw[top])
    bucket = min(int(first * BUCKETS), BUCKETS - 1)
    if shifts is None or first >= 1.0:
        return Mixed(logs, raw, raw, top, bucket)
    odds = first / (1.0 - first) * math.exp(float(shifts[bucket]))
    shifted = odds / (1.0 + odds)
    probabilities = raw * ((1.0 - shifted) / (1.0 - first))
    probabilities[top] = shifted
    return Mixed(logs, raw, probabilities, top, bucket)


def shortened(gradient: Weights) -> Weights:
    """The gradient, shorter along what the members have in common.

    They say much the same, so that direction is far steeper than those in which they differ.
    """
    common = np.float32((1.0 - _COMMON) / len(gradient)) * gradient.sum()
    shorter: Weights = gradient - common
    return shorter


def move(weights: Weights, change: Weights, early: float) -> None:
    """Take one step, in place, longer by ``early / sqrt(steps so far)``."""
    steps = float(weights[-1]) + 1.0
    weights += change * np.float32(1.0 + early / steps**0.5)
    weights[-1] = min(steps, 1e6)
