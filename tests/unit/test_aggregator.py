from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.records import (
    Demand,
    Feedback,
    MeasuredWarmUp,
    Prediction,
    Record,
    Result,
    ServiceProbability,
)
from streams.stages.admission import admit_demand
from streams.stages.aggregator.stage import Aggregator, AggregatorConfig
from streams.stages.aggregator.state import UNIT, PoolSums, Row, UserVector
from streams.stages.base import StepContext

TICK_MS = 1_000


def prediction(
    user: str,
    made_ms: int,
    within: dict[str, float],
    *,
    expires_ms: int = 10**9,
    tier: str = "gold",
    pool: str = "p",
) -> Prediction:
    return Prediction(
        request_id=f"{user}/{made_ms}",
        user=user,
        services=tuple(
            ServiceProbability(service=s, probability=p, within=p) for s, p in within.items()
        ),
        unseen=0.0,
        horizon_ms=60_000,
        expected_ms=(1, 2, 3),
        made_ms=made_ms,
        expires_ms=expires_ms,
        model="m",
        tier=tier,
        pool=pool,
    )


def feedback(service: str, ms: int) -> Feedback:
    measured = MeasuredWarmUp(service=service, count=1, total_ms=ms, squares_ms2=float(ms * ms))
    return Feedback(
        request_id="r",
        user="ann",
        tier="gold",
        pool="p",
        service="draw",
        at_ms=0,
        result=Result.MISS,
        cold_ms=0,
        saved_ms=0,
        hit_rate=0.0,
        drift=False,
        warm_ups=(measured,),
    )


def aggregator() -> Aggregator:
    return Aggregator(AggregatorConfig(tick_ms=TICK_MS))


def demands(records: list[Record]) -> list[Demand]:
    return [r for r in records if isinstance(r, Demand)]


def feed(
    events: list[Record], state: dict[str, Row] | None = None, *, record_ms: int = 0
) -> list[Demand]:
    rows = {} if state is None else state
    context = StepContext(partition=3, record_ms=record_ms)
    return demands([made for e in events for made in aggregator().step(e, rows, context)])


def at(now_ms: int, state: dict[str, Row]) -> list[Demand]:
    return demands(list(aggregator().tick(now_ms, state, StepContext(partition=3))))


def expected(demand: Demand) -> dict[tuple[str, str], float]:
    return {(s.service, s.tier): s.expected for s in demand.services}


def test_demand_is_the_sum_over_users() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 10, {"a": 0.5, "b": 0.25}), prediction("bob", 20, {"a": 0.25})], state)
    (demand,) = at(5_000, state)
    assert expected(demand) == {("a", "gold"): 0.75, ("b", "gold"): 0.25}
    assert [s.variance for s in demand.services] == [0.5 * 0.5 + 0.25 * 0.75, 0.25 * 0.75]
    assert (demand.pool, demand.partition, demand.horizon_ms) == ("p", 3, 60_000)


def test_a_new_vector_takes_the_place_of_the_old_one() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 10, {"a": 0.5}), prediction("ann", 20, {"b": 0.1})], state)
    (demand,) = at(5_000, state)
    assert expected(demand) == {("b", "gold"): pytest.approx(0.1, abs=1e-6)}


def test_a_user_who_changes_pool_and_tier_leaves_nothing_behind() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 10, {"a": 0.5})], state)
    feed([prediction("ann", 20, {"a": 0.5}, tier="bronze", pool="q")], state)
    found = {d.pool: expected(d) for d in at(5_000, state)}
    assert found == {"p": {}, "q": {("a", "bronze"): 0.5}}


def test_demand_is_sent_once_a_tick_and_includes_the_prediction_that_opened_it() -> None:
    events: list[Record] = [prediction("ann", ms, {"a": ms / 4_000}) for ms in (500, 900, 1_000)]
    first, second = feed(events)
    assert [first.at_ms, second.at_ms] == [500, 1_000]
    assert expected(second) == {("a", "gold"): 0.25}


def test_a_vector_is_gone_once_it_has_expired() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 0, {"a": 0.5}, expires_ms=8_000)], state)
    assert expected(at(7_000, state)[0]) == {("a", "gold"): 0.5}
    assert expected(at(8_000, state)[0]) == {}


def test_a_pool_without_demand_is_forgotten_after_it_has_said_so() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 0, {"a": 0.5}, expires_ms=8_000)], state)
    at(9_000, state)
    assert at(10_000, state) == []
    assert set(state) == {"u/ann", "\x00pools"}


def test_a_prediction_from_the_future_does_not_expire_the_present() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 0, {"a": 0.5}, expires_ms=60_000)], state, record_ms=1)
    feed([prediction("bob", 80_000_000, {"b": 0.5})], state, record_ms=2_000)
    assert expected(at(3_000, state)[0]) == {("a", "gold"): 0.5, ("b", "gold"): 0.5}


def test_a_single_time_far_ahead_is_not_believed_and_a_second_one_is() -> None:
    state: dict[str, Row] = {}
    later = 40 * 86_400_000
    feed([prediction("ann", 0, {"a": 0.5}, expires_ms=90_000)], state)
    assert feed([prediction("bob", later, {"b": 0.5}, expires_ms=2 * later)], state) == []
    assert expected(feed([prediction("cy", 2_000, {"c": 0.5})], state)[0])["a", "gold"] == 0.5
    assert (
        feed([prediction("bob", later, {"b": 0.5}, expires_ms=2 * later)], state)[0].at_ms == later
    )


def test_demand_names_when_half_of_it_will_have_expired() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 0, {"a": 0.1}, expires_ms=4_000)], state)
    feed([prediction("bob", 0, {"a": 0.5}, expires_ms=20_000)], state)
    assert at(1_000, state)[0].expires_ms == 20_000


def test_start_ups_accumulate_and_outlive_the_demand() -> None:
    state: dict[str, Row] = {}
    feed([feedback("base", 100), feedback("base", 300)], state)
    (measured,) = at(1_000, state)[0].warm_ups
    assert (measured.count, measured.total_ms, measured.squares_ms2) == (2, 400, 100_000.0)
    assert at(10**9, state)[0].warm_ups == (measured,)


def test_start_up_times_never_add_up_to_what_the_allocator_refuses() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 10, {"a": 0.5}), *[feedback("red", 2**52)] * 5], state)
    (demand,) = at(1_000, state)
    admit_demand(demand)
    assert [m.count for m in demand.warm_ups] == [2]


def test_feedback_does_not_move_time() -> None:
    assert feed([feedback("base", 100)]) == []


def test_a_user_who_falls_silent_is_expected_less_and_less() -> None:
    state: dict[str, Row] = {}
    made = prediction("ann", 0, {"a": 0.5})
    feed([replace(made, expected_ms=(10_000, 70_000, 86_400_000))], state)
    found = [expected(at(ms, state)[0])["a", "gold"] for ms in (10_000, 100_000, 10**6, 10**7)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.01


def test_a_regular_user_is_expected_when_it_is_time() -> None:
    state: dict[str, Row] = {}
    sure = ServiceProbability(service="a", probability=1.0, within=0.01)
    made = replace(prediction("ann", 0, {}), services=(sure,))
    feed([replace(made, expected_ms=(1_700_000, 1_800_000, 1_900_000))], state)
    early, due = (expected(at(ms, state)[0]).get(("a", "gold"), 0.0) for ms in (600_000, 1_800_000))
    assert early < 0.01 < due / 20


USERS = st.sampled_from(["ann", "bob", "cy"])
VECTORS = st.dictionaries(st.sampled_from("abc"), st.floats(0.0, 1.0), max_size=3)
EVENTS = st.lists(
    st.tuples(USERS, st.integers(0, 3_000), VECTORS, st.integers(0, 90_000), st.booleans()),
    max_size=30,
)


@given(events=EVENTS)
def test_running_sums_equal_a_sum_over_all_users(
    events: list[tuple[str, int, dict[str, float], int, bool]],
) -> None:
    """Exactly, whatever came, expired and went through bytes."""
    stage, state, now_ms = aggregator(), dict[str, Row](), 0
    for user, gap_ms, within, life_ms, reload in events:
        now_ms += gap_ms
        feed([prediction(user, now_ms, within, expires_ms=now_ms + life_ms)], state)
        if reload:
            state = {key: stage.decode(stage.encode(row)) for key, row in state.items()}
    at(now_ms, state)
    row = state.get("\x00pool/p", PoolSums())
    assert isinstance(row, PoolSums)
    expected, variance = np.zeros(9, np.int64), np.zeros(9, np.int64)
    for vector in state.values():
        if isinstance(vector, UserVector) and vector.epoch == row.epoch:
            ends, rows = vector.alive(now_ms)
            if ends:
                expected[vector.series] += rows[0]
                variance[vector.series] += rows[0] * (UNIT - rows[0])
    assert row.sums.values.tolist() == [
        expected[: row.sums.size].tolist(),
        variance[: row.sums.size].tolist(),
    ]


@given(events=EVENTS)
def test_nothing_is_left_when_everything_has_expired(
    events: list[tuple[str, int, dict[str, float], int, bool]],
) -> None:
    state: dict[str, Row] = {}
    for i, (user, _, within, life_ms, _) in enumerate(events):
        feed([prediction(user, i * 500, within, expires_ms=i * 500 + life_ms)], state)
    at(10**9, state)
    assert not [key for key in state if key.startswith(("\x00pool/", "\x00until/"))]


def test_a_users_row_is_small() -> None:
    state: dict[str, Row] = {}
    feed([prediction("ann", 0, {f"service-{i}": 1 / (i + 2) for i in range(500)})], state)
    assert len(aggregator().encode(state["u/ann"])) < 500 * 5


def test_bytes_of_an_unknown_version_are_refused() -> None:
    for bad in (b"", b"\x63[]"):
        with pytest.raises(ValueError, match=r"truncated|unknown form"):
            aggregator().decode(bad)


def test_a_vector_that_had_expired_when_it_was_made_counts_for_nothing() -> None:
    assert feed([prediction("ann", 5_000, {"a": 0.5}, expires_ms=1_000)])[0].services == ()


def test_requests_that_came_are_counted_where_they_are_expected_or_not() -> None:
    state: dict[str, Row] = {}
    for service in ("shop", "shop", "never predicted"):
        list(aggregator().step(replace(feedback("a", 1), service=service), state, StepContext()))
    list(aggregator().step(prediction("ann", 1_000, {"shop": 0.5}), state, StepContext()))
    (sent,) = demands(list(aggregator().tick(2_000, state, StepContext())))
    assert {s.service: s.seen for s in sent.services} == {"never predicted": 1, "shop": 2}
    again = {key: aggregator().decode(aggregator().encode(row)) for key, row in state.items()}
    assert demands(list(aggregator().tick(2_000, again, StepContext()))) == [sent]
