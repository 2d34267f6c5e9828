"""What the users of a partition have in common."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from streams.models.counts import empty, trimmed
from streams.models.kernels import Records, array_of, record
from streams.models.next_request.experts import M
from streams.models.next_request.mixing import BUCKETS, SETS, WEIGHTS
from streams.models.next_request.novelty import NOVELTY, new_novelty
from streams.models.next_request.recency import RECENCY
from streams.models.state_bytes import StateReader, StateWriter, packed

__all__ = ["CAUTION", "POPULATIONS", "PopulationState", "population_of"]

CAUTION = 100.0  # squared gradient that halves the first steps


def population_of(
    experts: int, weights: np.dtype[Any], sets: int, novelty: np.dtype[Any] = NOVELTY
) -> np.dtype[Any]:
    """The form of what users have in common, with so many experts, and sets of their weights."""
    return record(
        # weights for all, and the inverse of their curvature
        newton=record(weights=(np.float64, (experts,)), inverse=(np.float64, (experts, experts))),
        novelty=novelty,
        sets=(weights, (sets,)),  # weights by context
        shifts=(np.float64, (BUCKETS,)),  # of the log-odds of the top probability
        recency=RECENCY,  # how users come back
    )


_POPULATION = population_of(M, WEIGHTS, SETS)
POPULATIONS = array_of(_POPULATION)


class PopulationState:
    """What every request changes, as one row of the state: small, and written once a save."""

    __slots__ = ("first", "gaps", "learnt", "popular")

    def __init__(self) -> None:
        self.popular: Records = empty()  # of all requests
        self.first: Records = empty()  # of first uses
        self.gaps: Records = empty()
        self.learnt: Records = np.zeros(1, _POPULATION)
        self.learnt["novelty"] = new_novelty()
        self.learnt["newton"]["inverse"] = np.eye(M) / CAUTION

    def write(self, out: StateWriter) -> None:
        """Append this row."""
        learnt = self.learnt
        for row in (self.first, self.gaps):
            out.blob(trimmed(row))
        for name in ("newton", "novelty"):
            out.blob(packed(learnt[name]))
        out.blob(trimmed(self.popular))
        for name in ("sets", "shifts", "recency"):
            out.blob(packed(learnt[name]))

    @classmethod
    def read(cls, data: StateReader, learnt: Records | None = None) -> Self:
        """The row that `write` appended.

        Parameters
        ----------
        learnt
            Is filled in, where it has another form than now.
        """
        row = cls()
        row.learnt = row.learnt if learnt is None else learnt
        row.first, row.gaps = data.array_like(empty()), data.array_like(empty())
        row._fill(data, "newton", "novelty")
        row.popular = data.array_like(empty())
        row._fill(data, "sets", "shifts", "recency")
        return row

    def _fill(self, data: StateReader, *names: str) -> None:
        for name in names:
            self.learnt[name] = data.array_like(self.learnt[name])
