"""A log through all policies at once, and what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from streams.catalog import Catalog
from streams.compare.ledger import Judged, Ledger
from streams.compare.policies import (
    HOUR_MS,
    MINUTE_MS,
    NEVER_MS,
    GreedyDual,
    HybridHistogram,
    KeepAlive,
    Oracle,
    Policy,
)
from streams.compare.predictive import Forecast, Predictive
from streams.records import Request
from streams.stages.critical_path import Steps, steps_of

__all__ = ["POLICIES", "Row", "compare"]

KEEP_MINUTES = (0, 10, 30, 60, 120, 240, 480, 720, 1440)
RANGE_HOURS = (1, 2, 4, 8, 12, 24)
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)  # of all memory, for greedy-dual
SCALES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy with one parameter."""

    policy: str
    parameter: str
    requests: int
    cold_start_rate: float  # share of requests that waited for a start
    cold_start_ms: int  # on the critical path, together
    wasted_seconds: float  # of warm instances
    wasted_gb_s: float
    cost: float  # in the unit of the prices
    latency_ms: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))  # added: p50, p95, p99
    service_rates: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))  # p50, p75, p90
    user_rates: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))  # p50, p75, p90

    def as_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return asdict(self)


POLICIES: dict[str, Callable[[Catalog, Forecast], Iterable[Policy]]] = {
    "keep-alive": lambda _c, _f: [KeepAlive(m * MINUTE_MS) for m in KEEP_MINUTES],
    "always-warm": lambda _c, _f: [KeepAlive(None)],
    "hybrid-histogram": lambda _c, _f: [HybridHistogram(h * HOUR_MS) for h in RANGE_HOURS],
    "greedy-dual": lambda c, _f: [GreedyDual(share * _memory(c)) for share in SHARES],
    "oracle": lambda _c, _f: [Oracle(m * MINUTE_MS) for m in KEEP_MINUTES],
    "foremesh": lambda _c, f: [Predictive(scale, f) for scale in SCALES],
}


def compare(
    requests: Sequence[Request],
    catalog: Catalog,
    policies: Sequence[Policy],
    forecast: Forecast | None,
    *,
    warm_up: float = 0.3,
) -> Iterator[Request | Row]:
    """Put a log through all policies, step by step; the rows come at the end.

    Parameters
    ----------
    requests
        In order of time.
    forecast
        Shared by the predictive policies; None when there are none.
    warm_up
        Share of the requests that policies only learn from; nothing is counted before.

    Yields
    ------
    Request or Row
        Each request once all policies have taken it, for a progress bar; then a row a policy.
    """
    if not requests:
        return
    entrants = _Entrants(catalog, policies, forecast, requests[int(warm_up * len(requests))].at_ms)
    for request, nexts in _with_next_uses(requests, catalog):
        entrants.take(request, nexts)
        yield request
    yield from entrants.close(requests[-1].at_ms)


class _Entrants:
    """All policies with their accounts; those that predict share one forecast."""

    def __init__(
        self,
        catalog: Catalog,
        policies: Iterable[Policy],
        forecast: Forecast | None,
        from_ms: int,
    ) -> None:
        self._catalog = catalog
        self._forecast = forecast
        self._runs = [(policy, Ledger(catalog, from_ms)) for policy in policies]
        self._others = [run for run in self._runs if not isinstance(run[0], Predictive)]
        self._ours = [run for run in self._runs if isinstance(run[0], Predictive)]

    def take(self, request: Request, nexts: Mapping[str, int]) -> None:
        """Let time pass up to a request, have it judged, and let everybody learn from it."""
        for tick_ms in self._forecast.until(request.at_ms) if self._forecast else ():
            _advance(self._ours, tick_ms)
        _advance(self._others, request.at_ms)
        steps = steps_of(self._catalog, request.service)
        for policy, ledger in self._runs:
            ledger.judge(request.user, request.service, steps, request.at_ms)
            for name, next_ms in nexts.items():
                policy.used(name, request.at_ms, next_ms, ledger)
        if self._forecast:
            self._forecast.learn(request)
            _advance(self._ours, request.at_ms)

    def close(self, at_ms: int) -> Iterator[Row]:
        """End everything; a row a policy."""
        _advance(self._others, at_ms)
        for policy, ledger in self._runs:
            ledger.close(at_ms)
            yield _row(policy, ledger)


def _advance(runs: Iterable[tuple[Policy, Ledger]], now_ms: int) -> None:
    for policy, ledger in runs:
        policy.advance(now_ms, ledger)


def _with_next_uses(
    requests: Sequence[Request], catalog: Catalog
) -> Iterator[tuple[Request, dict[str, int]]]:
    """Each request with the next use of each of its constituents, for the oracle."""
    coming: dict[str, int] = {}
    found: list[dict[str, int]] = []
    for request in reversed(requests):
        names = _names(steps_of(catalog, request.service))
        found.append({name: coming.get(name, NEVER_MS) for name in names})
        coming.update(dict.fromkeys(names, request.at_ms))
    return zip(requests, reversed(found), strict=True)


def _names(steps: Steps) -> list[str]:
    return list(dict.fromkeys(name for step in steps for name in step))


def _memory(catalog: Catalog) -> float:
    return sum(max(1.0, known.needs.memory) for known in catalog.constituents.values())


def _row(policy: Policy, ledger: Ledger) -> Row:
    cold = np.array([judged.cold_ms for judged in ledger.judged], np.float64)
    return Row(
        policy=policy.name,
        parameter=policy.parameter,
        requests=len(cold),
        cold_start_rate=float((cold > 0).mean()) if len(cold) else 0.0,
        cold_start_ms=int(cold.sum()),
        wasted_seconds=ledger.wasted_ms / 1000,
        wasted_gb_s=ledger.wasted_gb_s,
        cost=ledger.cost,
        latency_ms=_quantiles(cold, (0.5, 0.95, 0.99)),
        service_rates=_rates(ledger.judged, lambda judged: judged.service),
        user_rates=_rates(ledger.judged, lambda judged: judged.user),
    )


def _rates(judged: Iterable[Judged], group: Callable[[Judged], str]) -> tuple[float, float, float]:
    """Cold-start rate at the 50th, 75th and 90th percentile over groups."""
    cold: defaultdict[str, list[bool]] = defaultdict(list)
    for one in judged:
        cold[group(one)].append(one.cold_ms > 0)
    rates = np.array([sum(found) / len(found) for found in cold.values()])
    return _quantiles(rates, (0.5, 0.75, 0.9))


def _quantiles(
    values: np.ndarray[Any, np.dtype[np.float64]], at: tuple[float, float, float]
) -> tuple[float, float, float]:
    if not len(values):
        return (0.0, 0.0, 0.0)
    low, middle, high = np.quantile(values, at).tolist()
    return (low, middle, high)
