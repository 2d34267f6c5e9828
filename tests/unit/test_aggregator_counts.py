"""What a demand counts beside the rates: requests that came, and measured start-up times."""

from __future__ import annotations

from dataclasses import replace

from aggregated import (
    FOR_EVER_MS,
    State,
    at,
    due,
    feed,
    feedback,
    prediction,
    request,
    through_bytes,
)

from streams.records import MeasuredWarmUp, Record
from streams.records.catalog import Catalog, Constituent, Resources
from streams.records.instances import ENOUGH
from streams.stages.admission import admit_demand
from streams.stages.aggregator.state import PoolSums
from streams.stages.base import StepContext


def test_start_ups_accumulate_and_outlive_the_demand() -> None:
    state: State = {}
    feed([feedback("base", 100, "r1"), feedback("base", 300, "r2")], state)
    feed([prediction("ann", 0, {"a": 0.5})], state)
    (measured,) = at(FOR_EVER_MS, state)[0].warm_ups
    assert (measured.count, measured.total_ms, measured.squares_ms2) == (2, 400, 100_000.0)


def test_start_up_times_never_add_up_to_what_the_allocator_refuses() -> None:
    measured: list[Record] = [feedback("red", 2**52, f"r{n}") for n in range(5)]
    (demand,) = feed([*measured, prediction("ann", 10, {"a": 0.5})])
    admit_demand(demand, StepContext())
    assert [m.count for m in demand.warm_ups] == [2]


def test_requests_that_came_are_counted_where_they_are_expected_or_not() -> None:
    state: State = {}
    for request_id, service in (("1", "shop"), ("2", "shop"), ("3", "never predicted")):
        feed([request(service, request_id)], state)
    feed([prediction("ann", 900, {"shop": 0.5}), prediction("bob", 950, {"shop": 0.5})], state)
    again = through_bytes(state)
    (sent,) = at(2_000, state)
    assert {s.service: s.seen for s in sent.services} == {"never predicted": 1, "shop": 2}
    assert at(2_000, again) == [sent]


def counted(state: State) -> tuple[int, int]:
    """Requests and measured start-ups."""
    feed([prediction("bob", 0, {"a": 0.5})], state)
    (demand,) = at(FOR_EVER_MS, state)
    starts = sum(measured.count for measured in demand.warm_ups)
    return sum(row.seen for row in demand.services), starts


def test_what_comes_again_is_not_counted_again() -> None:
    state: State = {}
    feed([request("draw", "r"), feedback("base", 100, "r")] * 2, state)
    again = through_bytes(state)
    feed([request("draw", "r"), feedback("base", 100, "r")], again)
    assert counted(again) == (1, 1)


def test_one_request_id_of_two_users_or_for_two_composites_counts_twice() -> None:
    state: State = {}
    feed([request("draw", "r"), request("draw", "r", user="eve"), request("shop", "r")], state)
    mine = feedback("base", 100, "r")
    feed([mine, replace(mine, user="eve"), replace(mine, service="shop")], state)
    assert counted(state) == (3, 3)


def test_a_request_is_in_the_demand_that_its_prediction_causes() -> None:
    (demand,) = feed([request("draw", "r", 5_000)])
    assert {row.service: row.seen for row in demand.services} == {"draw": 1}


def test_feedback_without_a_start_is_nothing_to_send_demand_for() -> None:
    state: State = {}
    feed([prediction("ann", 0, {"a": 0.5})], state)
    before = due(state)
    feed([replace(feedback("base", 100), warm_ups=())], state)
    assert due(state) == before


def test_a_log_that_comes_again_is_counted_once_but_for_its_last_minutes() -> None:
    state: State = {}
    log: list[Record] = [request("draw", f"r{n}", n * 60_000) for n in range(1_000)]
    feed([*log, *log], state)
    assert 1_000 <= counted(state)[0] < 1_030


def test_start_ups_of_a_log_that_comes_again_are_counted_once_but_for_its_last_minutes() -> None:
    state: State = {}
    log: list[Record] = [
        replace(feedback("base", 1, f"r{n}"), at_ms=n * 60_000) for n in range(1_000)
    ]
    feed([*log, *log], state)
    assert 1_000 <= counted(state)[1] < 1_030


def test_a_slow_start_is_learnt_although_many_faster_requests_were_told_before() -> None:
    state: State = {}
    fast: list[Record] = [
        replace(feedback("base", 1, f"r{n}"), at_ms=100_000 + n) for n in range(100)
    ]
    feed([*fast, replace(feedback("base", 90_000, "slow"), at_ms=50_000)], state)
    assert counted(state) == (0, 101)


def test_feedback_of_a_clock_far_ahead_keeps_no_start_from_being_counted() -> None:
    state: State = {}
    ahead: list[Record] = [replace(feedback("base", 1, f"a{n}"), at_ms=2**52) for n in range(40)]
    feed(ahead, state, record_ms=10**12)
    now: list[Record] = [replace(feedback("base", 1, f"n{n}"), at_ms=10**12 + n) for n in range(40)]
    feed(now, state, record_ms=10**12)
    assert counted(state) == (0, 80)


def test_it_looks_as_far_ahead_as_the_slowest_start_that_was_measured_takes() -> None:
    model = Constituent(service="model", needs=Resources(), warm_up_ms=2_000, price=1.0)
    catalog = Catalog.of([model])
    row = PoolSums()
    assert row.slowest_ms(catalog) == 2_000
    for _ in range(ENOUGH):
        assert row.slowest_ms(catalog) == 2_000
        row.measure(MeasuredWarmUp(service="model", count=1, total_ms=60_000, squares_ms2=0.0))
        row.measure(MeasuredWarmUp(service="gone", count=1, total_ms=90_000, squares_ms2=0.0))
    assert row.slowest_ms(catalog) == 60_000
    assert row.slowest_ms(Catalog()) == 0
