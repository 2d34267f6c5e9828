"""Vectors as users of the pipeline have them: made after a user's last request, and old since."""

from __future__ import annotations

import numpy as np

from streams.models.arrival.phases import phase_of
from streams.models.kernels import Table
from streams.models.next_request.mixture import NextRequestMixture
from streams.models.next_request.prediction import MixturePrediction
from streams.models.next_request.state_keys import State

__all__ = ["VECTORS", "PublishedVectors"]

VECTORS = ("mixture", "given when")  # what is published, and what demand is made of


class PublishedVectors:
    """The latest vector of each user."""

    def __init__(self, mixture: NextRequestMixture) -> None:
        self._mixture = mixture
        self._latest = dict[str, MixturePrediction]()

    def publish(self, state: State, user: str) -> None:
        """Make the vector of a user who has just asked."""
        made = self._mixture.prediction(state, self._mixture.profile(state, user))
        self._latest[user] = made._replace(  # what is scored only: the rest is larger
            table=made.table[:1].copy(), given=made.given.copy(), keys=[], shared=()
        )

    def of(self, user: str, gap_ms: int) -> tuple[MixturePrediction, Table]:
        """The vector of a user who asks now, and its rows: `VECTORS` x columns."""
        vector = self._latest[user]
        return vector, np.vstack([vector.chances, vector.given[phase_of(gap_ms)]])
