"""Requests over time: how many, how warm, and what waiting and warm time came to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from streams.dashboard.database import Row
from streams.dashboard.prices import PriceList
from streams.dashboard.spans import TimeSteps

__all__ = ["MoneyFigures", "TrafficFigures", "money", "traffic"]

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFigures:
    """Requests and hits in steps of time."""

    seconds: list[int]  # when each step begins
    per_minute: list[float]
    hit_rate: list[float | None]  # in percent; None where nobody asked
    requests: int
    hits: int
    refused: int
    cold_ms: int
    saved_ms: int

    @property
    def hit_percent(self) -> float | None:
        """Of all of them; None of none."""
        return 100 * self.hits / self.requests if self.requests else None


def traffic(rows: Iterable[Row], steps: TimeSteps) -> TrafficFigures:
    """The figures of rows of the query `traffic`."""
    found = list(rows)
    starts = steps.starts
    requests, hits = [0] * len(starts), [0] * len(starts)
    for row in found:
        place = steps.place(row["at_ms"])
        requests[place] += row["requests"]
        hits[place] += row["hits"]
    return TrafficFigures(
        seconds=[at_ms // 1000 for at_ms in starts],
        per_minute=[
            count * MINUTE_MS / _length_ms(at_ms, steps)
            for count, at_ms in zip(requests, starts, strict=True)
        ],
        hit_rate=[100 * h / n if n else None for h, n in zip(hits, requests, strict=True)],
        requests=sum(requests),
        hits=sum(hits),
        refused=sum(row["refused"] for row in found),
        cold_ms=sum(row["cold_ms"] for row in found),
        saved_ms=sum(row["saved_ms"] for row in found),
    )


def _length_ms(at_ms: int, steps: TimeSteps) -> int:
    """The length of a step; of the one under way at least half, lest it seem more than it is."""
    return max(steps.step_ms // 2, min(steps.step_ms, steps.now_ms - at_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyFigures:
    """What waiting was saved and warm time spent since the beginning of a span."""

    seconds: list[int]
    saved: list[float]
    spent: list[float]
    unpriced: set[str]  # constituents whose price is not known

    @property
    def net(self) -> float:
        """What is left of what was saved."""
        return self.saved[-1] - self.spent[-1]


def money(
    requests: Iterable[Row], warm: Iterable[Row], prices: PriceList, steps: TimeSteps
) -> MoneyFigures:
    """The figures of rows of the queries `traffic` and `warm_time`."""
    starts = steps.starts
    saved, spent = [0.0] * len(starts), [0.0] * len(starts)
    for row in requests:
        saved[steps.place(row["at_ms"])] += prices.waiting(row["tier"], row["saved_ms"])
    services = set()
    for row in warm:
        services.add(row["service"])
        spent[steps.place(row["at_ms"])] += prices.warm(row["service"], row["warm_ms"])
    return MoneyFigures(
        seconds=[at_ms // 1000 for at_ms in starts],
        saved=list(accumulate(saved)),
        spent=list(accumulate(spent)),
        unpriced=prices.lacks(services),
    )
