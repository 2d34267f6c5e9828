"""One prediction of the mixture, and how it came about."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streams.models.kernels import Records, Table
from streams.models.next_request.joined import Joined

__all__ = ["MixturePrediction"]


class MixturePrediction(NamedTuple):
    """One prediction and how it came about."""

    candidates: Records  # by column: service, age and requests
    table: Table  # mixture and experts x (services, all others, the unseen): probabilities
    forecast: Records  # one: what is learnt from the outcome
    others: int  # services known that have no column
    keys: list[str]  # rows of counts used
    shared: tuple[Records, ...]  # those counts
    joined: Joined | None = None  # with the recurrent network, where it runs
    # Empty unless it is over all phases: the probability of each column in each, as it is published,
    # with the network where it runs; and that the silence has ended before each, and after all.
    given: Table = np.empty((0, 0))
    ended: Table = np.empty(0)

    @property
    def chances(self) -> Table:
        """The probability of each column, as it is published."""
        row: Table = self.table[0] if self.joined is None else self.joined.table[0]
        return row

    def by(self, within: float) -> Table:
        """The probability of each column if the request comes within a horizon.

        Parameters
        ----------
        within
            The probability that it does.
        """
        ended = np.minimum(self.ended, within)
        masses = ended[1:] - ended[:-1]  # np.diff takes ten times as long
        found: Table = masses @ self.given / within if within > 0.0 else self.chances
        return found

    def column(self, item: int | None) -> int:
        """The column of a service: its own, that of all others, or that of the unseen."""
        listed = len(self.candidates)
        if item is None or (not self.others and item >= listed):  # new since it was made
            return listed + 1
        if not self.others:
            return item
        columns = np.flatnonzero(self.candidates["service"] == item)
        return int(columns[0]) if len(columns) else listed
