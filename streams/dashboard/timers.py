"""Are we better than a timer: the same requests without foremesh, and with the best keep-alive."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.dashboard.database import Row
from streams.dashboard.prices import PriceList

__all__ = ["Compared", "PolicyCost", "ServedConstituent", "compare"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedConstituent:
    """How instances of a constituent start and serve."""

    start_ms: float  # from its start to its first answer
    serve_ms: float  # for a request, where nobody measured it
    exclusive: bool  # an instance serves one request at a time


def compare(
    uses: Sequence[Row],
    warm: Iterable[Row],
    constituents: Mapping[str, ServedConstituent],
    prices: PriceList,
    now_ms: int,
) -> Compared | None:
    """The costs of foremesh, of no pre-allocation and of the best timer; None without requests.

    A timer is reckoned in its favour: it is the best of all afterwards, finds warm what was used
    first, starts at once what one more request needs at the same time, and has one instance of
    what can serve several.

    Parameters
    ----------
    uses
        Rows of the query `uses`, in the order of time.
    warm
        Rows of the query `warm_time` from the first of these requests on.
    constituents
        Those that were used; of one that is not known a start takes no time.
    """
    if not uses or now_ms <= uses[0]["at_ms"]:
        return None
    asked = _AskedRequests.of(uses, prices, now_ms)
    spent = sum(prices.warm(row["service"], row["warm_ms"]) for row in warm)
    pasts = _pasts(uses, constituents)
    timers = {seconds: _timer(pasts, prices, seconds, asked) for seconds in TIMERS_S}
    best = min(timers, key=lambda seconds: timers[seconds].total)
    return Compared(
        requests=len(uses),
        hours=asked.hours,
        ours=asked.cost("foremesh", asked.cold_ms, spent),
        none=asked.cost("no pre-allocation", asked.whole_ms, 0.0),
        timer=timers[best],
        timer_s=best,
    )


@dataclass(frozen=True, slots=True)
class _AskedRequests:
    """The requests: what a millisecond of waiting costs each, and how long it waited."""

    weight: NDArray[np.float64]
    cold_ms: NDArray[np.float64]  # with foremesh
    whole_ms: NDArray[np.float64]  # had nothing been warm
    now_ms: int
    hours: float

    @classmethod
    def of(cls, uses: Sequence[Row], prices: PriceList, now_ms: int) -> _AskedRequests:
        cold = np.array([row["cold_ms"] for row in uses], np.float64)
        return cls(
            np.array([prices.waiting(row["tier"], 1.0) for row in uses]),
            cold,
            cold + np.array([row["saved_ms"] for row in uses], np.float64),
            now_ms,
            (now_ms - uses[0]["at_ms"]) / HOUR_MS,
        )

    def cost(self, name: str, waits_ms: NDArray[np.float64], spent: float) -> PolicyCost:
        hits = 100 * float((waits_ms == 0).mean())
        return PolicyCost(
            name, float(waits_ms @ self.weight) / self.hours, spent / self.hours, hits
        )


@dataclass(frozen=True, slots=True)
class _UsesOfConstituent:
    """When a constituent was used, by which requests, and for how long."""

    known: ServedConstituent
    request: list[int] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    serve_ms: list[float] = field(default_factory=list)


def _pasts(
    uses: Sequence[Row], constituents: Mapping[str, ServedConstituent]
) -> dict[str, _UsesOfConstituent]:
    unknown = ServedConstituent(start_ms=0.0, serve_ms=0.0, exclusive=False)
    found: dict[str, _UsesOfConstituent] = {}
    for number, row in enumerate(uses):
        for service, serve_ms in zip(row["services"], row["serve_ms"], strict=True):
            known = constituents.get(service, unknown)
            past = found.setdefault(service, _UsesOfConstituent(known))
            past.request.append(number)
            past.at_ms.append(row["at_ms"])
            past.serve_ms.append(serve_ms or known.serve_ms)
    return found


def _timer(
    pasts: Mapping[str, _UsesOfConstituent], prices: PriceList, seconds: int, asked: _AskedRequests
) -> PolicyCost:
    """What keeping each instance warm for so long after its last use costs."""
    waits, spent = np.zeros(len(asked.weight)), 0.0
    for service, past in pasts.items():
        keep = _exclusive if past.known.exclusive else _shared
        cold, warm_ms = keep(past, 1000 * seconds, asked.now_ms)
        spent += prices.warm(service, warm_ms)
        np.maximum.at(waits, np.array(past.request), np.array(cold) * past.known.start_ms)
    waits = np.minimum(waits, asked.whole_ms)
    return asked.cost(f"timer of {_spelled(seconds)}", waits, spent)


def _shared(past: _UsesOfConstituent, timer_ms: int, now_ms: int) -> tuple[list[bool], float]:
    """Which uses are cold, and how long an instance is warm that serves all."""
    times = np.array(past.at_ms, np.int64)
    cold = np.diff(times, prepend=times[0]) > timer_ms
    warm = np.minimum(np.diff(times, append=now_ms), timer_ms)
    return cold.tolist(), float(warm.sum())


def _exclusive(past: _UsesOfConstituent, timer_ms: int, now_ms: int) -> tuple[list[bool], float]:
    """The same of instances that serve one each; of those that are free the last used one serves."""
    free = [float(past.at_ms[0])]  # since when each is free, in order
    cold, warm = [], 0.0
    for at_ms, serve_ms in zip(past.at_ms, past.serve_ms, strict=True):
        place = bisect_right(free, at_ms)
        hit = place > 0 and at_ms - free[place - 1] <= timer_ms
        cold.append(not hit)
        if hit:
            warm += at_ms - free.pop(place - 1)
        insort(free, at_ms + serve_ms)
        warm += serve_ms
    return cold, warm + sum(min(timer_ms, max(0.0, now_ms - since)) for since in free)


def _spelled(seconds: int) -> str:
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
