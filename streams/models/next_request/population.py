"""What the users of a partition have in common."""

from __future__ import annotations

from typing import Self

import numpy as np

from streams.models.counts import empty, trimmed
from streams.models.kernels import Records, array_of, record
from streams.models.next_request.experts import M
from streams.models.next_request.mixing import BUCKETS, SETS, WEIGHTS
from streams.models.next_request.novelty import NOVELTY, new_novelty
from streams.models.next_request.recency import RECENCY
from streams.models.state_bytes import StateReader, StateWriter, packed

__all__ = ["POPULATIONS", "PopulationState"]

_CAUTION = 100.0  # squared gradient that halves the first steps

_POPULATION = record(
    # weights for all, and the inverse of their curvature
    newton=record(weights=(np.float64, (M,)), inverse=(np.float64, (M, M))),
    novelty=NOVELTY,
    sets=(WEIGHTS, (SETS,)),  # weights by context
    shifts=(np.float64, (BUCKETS,)),  # of the log-odds of the top probability
    recency=RECENCY,  # how users come back
)
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
        self.learnt["newton"]["inverse"] = np.eye(M) / _CAUTION

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
    def read(cls, data: StateReader) -> Self:
        """The row that `write` appended."""
        row = cls()
        row.first, row.gaps = data.array_like(empty()), data.array_like(empty())
        row._fill(data, "newton", "novelty")
        row.popular = data.array_like(empty())
        row._fill(data, "sets", "shifts", "recency")
        return row

    def _fill(self, data: StateReader, *names: str) -> None:
        for name in names:
            self.learnt[name] = data.array_like(self.learnt[name])
