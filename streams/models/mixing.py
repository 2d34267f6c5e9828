"""Weights of a mixture: learnt online, in small sets chosen by context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Mixed", "Weights", "mixed", "moved"]

Weights = npt.NDArray[np.float32]  # one for each member, then the number of steps so far

_COMMON = 0.1  # share of a step along the direction that all members have in common


@dataclass(frozen=True, slots=True)
class Mixed:
    """A mixture's answer."""

    logs: npt.NDArray[np.float64]  # members x columns: log-probabilities
    probabilities: npt.NDArray[np.float64]  # by column

    def gradient(self, column: int) -> npt.NDArray[np.float64]:
        """Of the log-probability of `column`, by each member's weight.

        All members say much the same, so the direction they share is far steeper than those
        in which they differ; it is shortened.
        """
        gradient: npt.NDArray[np.float64] = self.logs[:, column] - self.logs.dot(self.probabilities)
        gradient -= (1.0 - _COMMON) * gradient.sum() / len(gradient)
        return gradient


def mixed(rows: npt.NDArray[np.float64], weights: npt.NDArray[np.floating]) -> Mixed:
    """The product of the members' probabilities, each to the power of its weight, normalised."""
    logs = np.log(rows)
    scores = weights.dot(logs)
    scores -= scores.max()
    np.exp(scores, out=scores)
    scores /= scores.sum()
    return Mixed(logs, scores)


def moved(weights: Weights | None, gradient: Weights, step: float, early: float) -> Weights:
    """The weights after one step, longer by ``early / sqrt(steps so far)``."""
    if weights is None:
        weights = np.zeros(len(gradient) + 1, np.float32)
    steps = float(weights[-1]) + 1.0
    after = weights.copy()
    after[:-1] += gradient * np.float32(step * (1.0 + early / steps**0.5))
    after[-1] = min(steps, 1e6)
    return after
