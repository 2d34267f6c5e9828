"""Run all policies over one log at once, and sum up the results of each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from streams.catalog.critical_path import serve_ms, steps_of
from streams.lab.compare.future_uses import FutureUses
from streams.lab.compare.ledger import JudgedRequest, NthInstance, PolicyLedger
from streams.lab.compare.policies import (
    HOUR_MS,
    MINUTE_MS,
    BoundedOracle,
    GreedyDual,
    HybridHistogram,
    KeepAlive,
    KeepWarmPolicy,
    ObservedUse,
    OraclePolicy,
    PrewarmingOracle,
    WindowPolicy,
)
from streams.records import Request
from streams.records.catalog import Catalog

__all__ = ["OURS", "POLICIES", "PolicyRow", "compare", "counted_from", "row_of"]

KEEP_MINUTES = (0, 1, 2, 5, 10, 20, 30, 60, 120, 240, 480, 720, 1440, 2880, 5760)
RANGE_HOURS = (1, 2, 4, 8, 12, 24)
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.85)  # of all memory, for greedy-dual
OURS = "foremesh"  # the stages themselves, see `staged`


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """The results of one policy with one parameter."""

    policy: str
    parameter: str
    requests: int
    cold_start_rate: float  # share of requests that waited for a start
    cold_start_ms: int  # total on the critical paths
    wasted_seconds: float  # warm time of all instances
    wasted_gb_s: float
    cost: float  # of the warm time, in the unit of the prices
    total_cost: float = 0.0  # with the cost of the waits, by tier
    utility: float = 1.0  # share of the warm time that was followed by a use
    latency_ms: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))  # added: p50, p95, p99
    service_rates: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))  # p50, p75, p90
    user_rates: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))  # p50, p75, p90

    def as_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return asdict(self)


def _oracles(catalog: Catalog, memory_mib: float) -> list[KeepWarmPolicy]:
    """In bounded memory what to start when is a packing problem: none that pre-warms there."""
    if math.isfinite(memory_mib):
        return [BoundedOracle(memory_mib)]
    keeping = [OraclePolicy(minutes * MINUTE_MS) for minutes in KEEP_MINUTES]
    return [*keeping, PrewarmingOracle(catalog.constituents)]


# Each makes its policies from the catalogue and the memory limit in MiB.
POLICIES: dict[str, Callable[[Catalog, float], Iterable[KeepWarmPolicy]]] = {
    "keep-alive": lambda _c, _m: [KeepAlive(m * MINUTE_MS) for m in KEEP_MINUTES],
    "always-warm": lambda _c, _m: [KeepAlive(None)],
    "hybrid-histogram": lambda _c, _m: [HybridHistogram(h * HOUR_MS) for h in RANGE_HOURS],
    "greedy-dual": lambda c, m: [GreedyDual(mib) for mib in _shares(c, m)],
    "oracle": _oracles,
    OURS: lambda _c, _m: (),
}


def compare(
    requests: Sequence[Request],
    catalog: Catalog,
    policies: Sequence[KeepWarmPolicy],
    *,
    warm_up: float = 0.3,
    capacity_mib: float = math.inf,
) -> Iterator[Request | PolicyRow]:
    """Run all policies over a log, request by request; their rows come at the end.

    Parameters
    ----------
    requests
        In order of time.
    catalog
        Start-up times, memory and prices of the constituents.
    policies
        The policies that observe uses only.
    warm_up
        Share of the requests that policies only learn from; nothing is counted before.
    capacity_mib
        Memory limit. Under a window policy the least recently used constituent is evicted;
        greedy-dual and the oracle choose themselves, right after serving a request.

    Yields
    ------
    Request or PolicyRow
        Each request after all policies have learnt it, for a progress bar; then all rows.
    """
    if not requests:
        return
    new_ledger = partial(PolicyLedger, catalog, counted_from(requests, warm_up))
    future = FutureUses.of(requests, catalog)
    for policy in policies:
        policy.begin(future.first())
    accounts = _PolicyAccounts(catalog, policies, new_ledger, capacity_mib)
    for place, request in enumerate(requests):
        accounts.take(request, partial(future.next_ms, place))
        yield request
    yield from accounts.close(requests[-1].at_ms)


def counted_from(requests: Sequence[Request], warm_up: float) -> int:
    """The time from which on requests count, after this share of them."""
    return requests[int(warm_up * len(requests))].at_ms


class _PolicyAccounts:
    """All policies with their ledgers."""

    def __init__(
        self,
        catalog: Catalog,
        policies: Iterable[KeepWarmPolicy],
        new_ledger: Callable[..., PolicyLedger],
        capacity_mib: float,
    ) -> None:
        self._catalog = catalog
        self._runs: list[tuple[KeepWarmPolicy, PolicyLedger]] = []
        for policy in policies:
            limit_mib = capacity_mib if isinstance(policy, WindowPolicy) else math.inf
            self._runs.append((policy, new_ledger(capacity_mib=limit_mib)))

    def take(self, request: Request, next_ms: Callable[[NthInstance], int]) -> None:
        """Advance to a request, judge it under every policy, and let the policies learn it."""
        self._pass(request.at_ms)
        steps = steps_of(self._catalog, request.service)
        serving = serve_ms(steps, request.serve_ms)
        for policy, ledger in self._runs:
            for nth, until_ms in ledger.judge(request, steps, serving).items():
                use = ObservedUse(request.at_ms, until_ms, next_ms(nth))
                policy.used(nth, use, ledger)

    def close(self, at_ms: int) -> Iterator[PolicyRow]:
        """End all instances; yields a row for each policy and parameter."""
        self._pass(at_ms)
        for policy, ledger in self._runs:
            ledger.close(at_ms)
            yield row_of(policy.name, policy.parameter, ledger)

    def _pass(self, now_ms: int) -> None:
        for policy, ledger in self._runs:
            policy.advance(now_ms, ledger)


def _shares(catalog: Catalog, memory_mib: float) -> list[float]:
    all_mib = sum(max(1.0, known.needs.memory) for known in catalog.constituents.values())
    return list(dict.fromkeys(min(memory_mib, share * all_mib) for share in SHARES))


def row_of(policy: str, parameter: str, ledger: PolicyLedger) -> PolicyRow:
    """The results of an account that is closed."""
    cold = np.array([judged.cold_ms for judged in ledger.judged], np.float64)
    return PolicyRow(
        policy=policy,
        parameter=parameter,
        requests=len(cold),
        cold_start_rate=float((cold > 0).mean()) if len(cold) else 0.0,
        cold_start_ms=int(cold.sum()),
        wasted_seconds=ledger.wasted_ms / 1000,
        wasted_gb_s=ledger.wasted_gb_s,
        cost=ledger.cost,
        total_cost=ledger.cost + sum(judged.worth for judged in ledger.judged),
        utility=ledger.utility,
        latency_ms=_quantiles(cold, (0.5, 0.95, 0.99)),
        service_rates=_rates(ledger.judged, lambda judged: judged.service),
        user_rates=_rates(ledger.judged, lambda judged: judged.user),
    )


def _rates(
    judged: Iterable[JudgedRequest], group: Callable[[JudgedRequest], str]
) -> tuple[float, float, float]:
    """Cold-start rate at the 50th, 75th and 90th percentile over groups."""
    cold: defaultdict[str, list[bool]] = defaultdict(list)
    for request in judged:
        cold[group(request)].append(request.cold_ms > 0)
    rates = np.array([sum(flags) / len(flags) for flags in cold.values()])
    return _quantiles(rates, (0.5, 0.75, 0.9))


def _quantiles(
    values: np.ndarray[Any, np.dtype[np.float64]], at: tuple[float, float, float]
) -> tuple[float, float, float]:
    if not len(values):
        return (0.0, 0.0, 0.0)
    low, middle, high = np.quantile(values, at).tolist()
    return (low, middle, high)
