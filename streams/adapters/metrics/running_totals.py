"""Counters that follow sums which are kept elsewhere."""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Callable, Mapping

from prometheus_client import Counter

__all__ = ["RunningTotals"]


class RunningTotals:
    """Brings counters up to sums that only grow, each time it is told of them."""

    def __init__(self) -> None:
        self._told: dict[Counter, float] = {}

    def follow(self, counter: Counter, total: float) -> None:
        """Have a counter, or one series of it, grow as its sum did."""
        told = self._told.get(counter, 0.0)
        if total > told:
            counter.inc(total - told)
            self._told[counter] = total

    def follow_each(
        self, counter: Counter, label: Callable[[str], str], totals: Mapping[str, float]
    ) -> None:
        """Have each series grow as the sums of the names with its label did."""
        sums = Sums[str]()
        for name, total in totals.items():
            sums[label(name)] += total  # type: ignore[assignment]  # fractions
        for value, total in sums.items():
            self.follow(counter.labels(value), total)
