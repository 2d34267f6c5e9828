"""What decisions come to, for who watches: no part of the state, and nothing reads it here."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Container, Mapping

import numpy as np

from streams.allocator.calibration import Pair
from streams.allocator.state import PoolState
from streams.allocator.valuation.occupancy import Floats
from streams.allocator.view import PoolObservation, PoolView

__all__ = ["FiguresByPool", "PoolFigures"]


class PoolFigures:
    """The last decision about a pool, and requests expected and come since the start.

    Attributes
    ----------
    decided_ms
        Event time of the last decision; 0 while there is none.
    queued
        Constituents of which one more pays but does not fit.
    partition
        Of the input topics: that of the pool.
    arrived
        Requests that came, by service.
    """

    def __init__(self) -> None:
        self.decided_ms = self.queued = self.partition = 0
        self.arrived = Counter[str]()
        self._earlier = Counter[str]()  # expected, by catalogues that have been replaced
        self._seen: PoolObservation | None = None
        self._view: PoolView | None = None
        self._expected: Floats = np.zeros((0, 0))  # by service and tier of the last one seen

    def take(
        self,
        row: PoolState,
        seen: PoolObservation,
        view: PoolView,
        came: Mapping[Pair, int],
        *,
        partition: int = 0,
    ) -> None:
        """Take in a decision; it is one of many in a second, so no more is done than must be.

        Parameters
        ----------
        row
            The state after it.
        seen, view
            What it was made on.
        came
            Requests since the decision before.
        partition
            That of the pool.
        """
        before = self._seen
        if before is None or seen.index is not before.index:
            self._earlier += self._of_index()
            self._expected = np.zeros_like(seen.asked)
        elif before.horizon_ms > 0:
            # What was expected after a horizon is not known: demand is told again before.
            passed_ms = min(max(row.decided_ms - self.decided_ms, 0), before.horizon_ms)
            self._expected += before.asked * (passed_ms / before.horizon_ms)
        for (service, _), count in came.items():
            self.arrived[service] += count
        self.decided_ms, self.queued = row.decided_ms, len(row.queue)
        self.partition = partition
        self._seen, self._view = seen, view

    def end(self) -> None:
        """Nothing is decided here any more: what was summed up is all that is kept."""
        self._earlier += self._of_index()
        self._expected = np.zeros((0, 0))
        self._seen = self._view = None
        self.decided_ms = self.queued = 0

    @property
    def budget(self) -> float:
        """Most that instances may cost in an hour."""
        return math.inf if self._view is None else self._view.budget

    @property
    def spending(self) -> float:
        """What instances cost in an hour that there are or will be."""
        return 0.0 if self._view is None else float(self._view.have @ self._view.index.price)

    def expected(self) -> Mapping[str, float]:
        """Requests that were expected from one decision to the next, by service."""
        return self._earlier + self._of_index()

    def _of_index(self) -> Counter[str]:
        services = self._seen.index.services if self._seen else []
        sums: list[float] = self._expected.sum(axis=1).tolist()
        return Counter(dict(zip(services, sums, strict=True)))


class FiguresByPool(defaultdict[str, PoolFigures]):
    """Those of each pool about which was decided here; of some that has ended."""

    def __init__(self) -> None:
        super().__init__(PoolFigures)

    def keep(self, pools: Container[str]) -> None:
        """End those of other pools: they are in no catalogue any more."""
        for pool, figures in self.items():
            if figures.decided_ms and pool not in pools:
                figures.end()

    def leave(self, partition: int) -> None:
        """End those of a partition: its pools are decided on elsewhere."""
        for figures in self.values():
            if figures.decided_ms and figures.partition == partition:
                figures.end()
