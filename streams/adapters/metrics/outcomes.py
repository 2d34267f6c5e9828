"""What became of requests; on the way of each, so series are looked up once."""

from __future__ import annotations

from functools import cache

from streams.adapters.metrics import table
from streams.records import Outcome, Route

__all__ = ["count"]

# Looking a series up by its labels costs more than counting; labels have few values.
_requests, _seconds = cache(table.REQUESTS.labels), cache(table.REQUEST_SECONDS.labels)
_waits, _saved = cache(table.WAIT_SECONDS.labels), cache(table.SAVED_SECONDS.labels)


def count(outcome: Outcome) -> None:
    """Count a request that has its outcome; by the process that tells it, once."""
    service, tier = table.SERVICES(outcome.service), table.TIERS(outcome.tier)
    _requests(service, tier, outcome.result, outcome.route).inc()
    if outcome.route is not Route.OBSERVED:
        _seconds(outcome.result).observe(outcome.latency_ms / 1000)
    if outcome.cold_ms:
        _waits(tier).observe(outcome.cold_ms / 1000)
    if outcome.saved_ms:
        _saved(service).inc(outcome.saved_ms / 1000)
