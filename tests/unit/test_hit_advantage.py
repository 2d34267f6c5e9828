from __future__ import annotations

from dataclasses import replace

from streams.demo.hit_advantage import hit_advantage
from streams.records import Instance, InstanceState, Outcome, Result, Route

HIT = Outcome(
    request_id="r1",
    user="ann",
    tier="gold",
    pool="shop",
    service="checkout",
    at_ms=10_000,
    result=Result.HIT,
    route=Route.PREALLOCATED,
    status=200,
    latency_ms=5.0,
    cold_ms=0,
    saved_ms=900,
    parts=(),
)
MISS = replace(HIT, result=Result.MISS, route=Route.STANDARD, latency_ms=905.0)
QUICK = Instance(
    instance_id="i1",
    service="pricing",
    pool="shop",
    state=InstanceState.WARM,
    endpoint="",
    command_id="c1",
    started_ms=1_000,
    changed_ms=1_200,
    warm_since_ms=1_200,
)
SLOW = replace(QUICK, instance_id="i2", service="payment", warm_since_ms=1_800)


def test_hits_are_held_against_the_start_of_the_slowest_constituent() -> None:
    bar = hit_advantage([HIT, MISS], [QUICK, SLOW])

    assert bar is not None
    assert (bar.ahead_ms, bar.slowest, bar.start_ms) == (900.0, "payment", 800)
    assert "900 ms: at least the 800 ms" in str(bar)


def test_a_bar_that_is_missed_is_called_so() -> None:
    bar = hit_advantage([HIT, replace(MISS, latency_ms=105.0)], [SLOW])

    assert "100 ms: less than the 800 ms" in str(bar)


def test_medians_count_neither_partial_hits_nor_what_was_refused() -> None:
    partial = replace(MISS, result=Result.PARTIAL, latency_ms=9_000.0)
    refused = replace(MISS, route=Route.REFUSED, latency_ms=1.0)
    starts = [replace(SLOW, warm_since_ms=1_000 + took_ms) for took_ms in (700, 800, 5_000)]

    bar = hit_advantage([HIT, MISS, partial, refused], starts)

    assert bar is not None
    assert (bar.hit_ms, bar.miss_ms, bar.start_ms) == (5.0, 905.0, 800)


def test_what_never_became_warm_has_no_start() -> None:
    assert hit_advantage([HIT, MISS], [replace(SLOW, warm_since_ms=None)]) is None


def test_without_misses_there_is_nothing_to_beat() -> None:
    assert hit_advantage([HIT], [SLOW]) is None
