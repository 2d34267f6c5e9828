"""What decisions come to, for who watches: no part of the state, and nothing reads it here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from streams.allocator.calibration import Pair
from streams.allocator.state import PoolState
from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.occupancy import Floats
from streams.allocator.view import PoolObservation, PoolView

__all__ = ["PoolFigures"]


class PoolFigures:
    """The last decision about a pool in numbers, and requests expected and come since the start.

    Attributes
    ----------
    decided_ms
        Event time of the last decision.
    budget, spending
        Most that instances may cost in an hour, and what those cost that there are or will be.
    queued
        Constituents of which one more pays but does not fit.
    arrived
        Requests that came, by service.
    """

    def __init__(self) -> None:
        self.decided_ms = self.queued = 0
        self.budget, self.spending = math.inf, 0.0
        self.arrived = Counter[str]()
        self._earlier = Counter[str]()  # expected, by catalogues that have been replaced
        self._index: CatalogIndex | None = None
        self._expected: Floats = np.zeros(0)  # of each service of this one
        self._rate: Floats = np.zeros(0)  # requests in a millisecond, as of the last decision

    def take(
        self, row: PoolState, seen: PoolObservation, view: PoolView, came: Mapping[Pair, int]
    ) -> None:
        """Take in a decision.

        Parameters
        ----------
        row
            The state after it.
        seen, view
            What it was made on.
        came
            Requests since the decision before.
        """
        if seen.index is not self._index:
            self._begin(seen.index)
        # What was expected after a horizon is not known: demand is told again before.
        passed_ms = min(max(row.decided_ms - self.decided_ms, 0), seen.horizon_ms)
        self._expected += self._rate * passed_ms
        self._rate = seen.asked.sum(axis=1) / max(seen.horizon_ms, 1)
        for (service, _), count in came.items():
            self.arrived[service] += count
        self.decided_ms, self.queued = row.decided_ms, len(row.queue)
        self.budget = view.budget
        self.spending = float(view.have @ view.index.price)

    def expected(self) -> Mapping[str, float]:
        """Requests that were expected from one decision to the next, by service."""
        return self._earlier + self._of_index()

    def _begin(self, index: CatalogIndex) -> None:
        self._earlier += self._of_index()
        self._index = index
        self._expected, self._rate = np.zeros(len(index.services)), np.zeros(len(index.services))

    def _of_index(self) -> Counter[str]:
        services = self._index.services if self._index else ()
        return Counter(dict(zip(services, self._expected.tolist(), strict=True)))
