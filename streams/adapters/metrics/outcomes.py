"""What became of requests; on the way of each, so series are looked up once."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from prometheus_client import Counter, Histogram

from streams.adapters.metrics import table
from streams.records import Outcome, Result, Route

__all__ = ["count"]


class _OutcomeSeries(NamedTuple):
    """What an outcome with these labels counts in."""

    requests: Counter
    seconds: Histogram | None  # none of a request that was only observed
    waits: Histogram
    saved: Counter


@cache  # looking a series up by its labels costs more than counting; labels have few values
def _series(service: str, tier: str, result: Result, route: Route) -> _OutcomeSeries:
    return _OutcomeSeries(
        table.REQUESTS.labels(service, tier, result, route),
        None if route is Route.OBSERVED else table.REQUEST_SECONDS.labels(result),
        table.WAIT_SECONDS.labels(tier),
        table.SAVED_SECONDS.labels(service),
    )


def count(outcome: Outcome) -> None:
    """Count a request that has its outcome; by the process that tells it, once."""
    service, tier = table.SERVICES(outcome.service), table.TIERS(outcome.tier)
    series = _series(service, tier, outcome.result, outcome.route)
    series.requests.inc()
    if series.seconds:
        series.seconds.observe(outcome.latency_ms / 1000)
    if outcome.cold_ms:
        series.waits.observe(outcome.cold_ms / 1000)
    if outcome.saved_ms:
        series.saved.inc(outcome.saved_ms / 1000)
