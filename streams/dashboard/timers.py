"""Are we better than a timer: the same requests without foremesh, and with the best keep-alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.dashboard.database import Row
from streams.dashboard.prices import PriceList

__all__ = ["Compared", "PolicyCost", "compare"]

HOUR_MS = 3_600_000
TIMERS_S = (15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600)


@dataclass(frozen=True, slots=True)
class PolicyCost:
    """What a way to keep instances warm costs in an hour."""

    name: str
    waiting: float  # of requests for starts
    warm: float  # of instances
    hit_percent: float

    @property
    def total(self) -> float:
        """Waiting and warm time together."""
        return self.waiting + self.warm


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the newest requests cost by each way to keep instances warm."""

    requests: int
    hours: float
    ours: PolicyCost
    none: PolicyCost
    timer: PolicyCost  # the best one, known only afterwards
    timer_s: int


def compare(
    uses: Sequence[Row],
    warm: Iterable[Row],
    start_ms: Mapping[str, float],
    prices: PriceList,
    now_ms: int,
) -> Compared | None:
    """The costs of foremesh, of no pre-allocation and of the best timer; None without requests.

    A timer is reckoned in its favour: it has one instance of a constituent, which serves however
    many ask at once, it is the best of all afterwards, and finds warm what was used first.

    Parameters
    ----------
    uses
        Rows of the query `uses`, in the order of time.
    warm
        Rows of the query `warm_time` from the first of these requests on.
    start_ms
        How long instances of each constituent take to start.
    """
    if not uses or now_ms <= uses[0]["at_ms"]:
        return None
    hours = (now_ms - uses[0]["at_ms"]) / HOUR_MS
    weight = np.array([prices.waiting(row["tier"], 1.0) for row in uses])
    cold = np.array([row["cold_ms"] for row in uses], np.float64)
    whole = cold + np.array([row["saved_ms"] for row in uses], np.float64)
    spent = sum(prices.warm(row["service"], row["warm_ms"]) for row in warm)
    ours = _cost("foremesh", cold, spent, weight, hours)
    none = _cost("no pre-allocation", whole, 0.0, weight, hours)
    past = _pasts(uses, now_ms)
    found = {
        seconds: _cost(
            f"timer of {_spelled(seconds)}",
            np.minimum(_waits(past, start_ms, len(uses), 1000 * seconds), whole),
            _spent(past, prices, 1000 * seconds),
            weight,
            hours,
        )
        for seconds in TIMERS_S
    }
    best = min(found, key=lambda seconds: found[seconds].total)
    return Compared(
        requests=len(uses), hours=hours, ours=ours, none=none, timer=found[best], timer_s=best
    )


@dataclass(frozen=True, slots=True)
class _UsesOfConstituent:
    """When a constituent was used, and by which requests."""

    request: NDArray[np.int64]
    since_ms: NDArray[np.int64]  # the use before
    until_ms: NDArray[np.int64]  # the use after, or now


def _pasts(uses: Sequence[Row], now_ms: int) -> dict[str, _UsesOfConstituent]:
    found: dict[str, list[tuple[int, int]]] = {}
    for number, row in enumerate(uses):
        for service in row["services"]:
            found.setdefault(service, []).append((number, row["at_ms"]))
    return {service: _of(np.array(pairs, np.int64), now_ms) for service, pairs in found.items()}


def _of(pairs: NDArray[np.int64], now_ms: int) -> _UsesOfConstituent:
    times = pairs[:, 1]
    return _UsesOfConstituent(
        pairs[:, 0], np.diff(times, prepend=times[0]), np.diff(times, append=now_ms)
    )


def _waits(
    pasts: Mapping[str, _UsesOfConstituent],
    start_ms: Mapping[str, float],
    requests: int,
    timer_ms: int,
) -> NDArray[np.float64]:
    """How long each request waits: for the slowest of what has gone cold."""
    waits = np.zeros(requests)
    for service, past in pasts.items():
        cold = (past.since_ms > timer_ms) * start_ms.get(service, 0.0)
        np.maximum.at(waits, past.request, cold)
    return waits


def _spent(pasts: Mapping[str, _UsesOfConstituent], prices: PriceList, timer_ms: int) -> float:
    return sum(
        prices.warm(service, float(np.minimum(past.until_ms, timer_ms).sum()))
        for service, past in pasts.items()
    )


def _cost(
    name: str,
    waits: NDArray[np.float64],
    spent: float,
    weight: NDArray[np.float64],
    hours: float,
) -> PolicyCost:
    hits = 100 * float((waits == 0).mean())
    return PolicyCost(name, float(waits @ weight) / hours, spent / hours, hits)


def _spelled(seconds: int) -> str:
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
