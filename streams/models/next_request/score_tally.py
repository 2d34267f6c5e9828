"""How good predictions were, summed up for who watches: no part of the state, nothing reads it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Table, inner
from streams.models.next_request.experts import M

__all__ = ["TENTHS", "ScoreTally", "new_tally", "tally_score", "view_of"]

TENTHS = 10  # of the probability of the most probable service

Sums = npt.NDArray[np.float64]


class ScoreTally(NamedTuple):
    """Sums over all predictions that were scored since the start."""

    losses: Sums  # log-losses in nats: of the mixture, then of each expert
    predicted: Sums  # by tenth: the probability of the most probable service
    came: Sums  # by tenth: how often it came
    scored: Sums  # by tenth: predictions


def new_tally() -> Sums:
    """Nothing summed yet; `view_of` names its parts."""
    return np.zeros(1 + M + 3 * TENTHS)


def view_of(sums: Sums) -> ScoreTally:
    """The parts of a tally."""
    return ScoreTally(sums[: 1 + M], *sums[1 + M :].reshape(3, TENTHS))


@inner
def tally_score(sums: Sums, table: Table, column: int, top: int) -> None:
    """Add a prediction, once the service of a column came."""
    for row in range(1 + M):
        sums[row] -= math.log(table[row, column])
    probability = table[0, top]
    tenth = 1 + M + min(int(probability * TENTHS), TENTHS - 1)
    sums[tenth] += probability
    sums[tenth + TENTHS] += column == top
    sums[tenth + 2 * TENTHS] += 1.0
