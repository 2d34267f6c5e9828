from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from aggregated import (
    EXACT,
    FIRST,
    FOR_EVER_MS,
    HOUR_MS,
    NOW,
    TICK_MS,
    State,
    asks,
    at,
    due,
    expected,
    feed,
    feedback,
    later,
    prediction,
    request,
    sums,
    through_bytes,
)
from hypothesis import given
from hypothesis import strategies as st

from streams.models.arrival.silence import EDGES_MS, STAGES
from streams.records import (
    Record,
)
from streams.stages.aggregator.stage import Aggregator, AggregatorConfig
from streams.stages.aggregator.state import (
    UNIT,
    SilenceBucket,
    SilentUser,
    UserTally,
)
from streams.stages.aggregator.tempo import DemandTempo
from streams.stages.aggregator.wheel import LATE, PHASE_OF, passages
from streams.stages.base import NoRoom

# --------------------------------------------------------------------- the sum over users


def test_demand_is_the_sum_over_users() -> None:
    state: State = {}
    feed([prediction("ann", 10, {"a": 0.5, "b": 0.25}), prediction("bob", 20, {"a": 0.25})], state)
    (demand,) = at(5_000, state)
    assert expected(demand) == {
        ("a", "gold"): pytest.approx(0.75 * FIRST, rel=1e-5),
        ("b", "gold"): pytest.approx(0.25 * FIRST, rel=1e-5),
    }
    assert (demand.pool, demand.partition, demand.horizon_ms) == ("p", 3, 60_000)


def test_a_new_vector_takes_the_place_of_the_old_one() -> None:
    state: State = {}
    feed([prediction("ann", 10, {"a": 0.5}), prediction("ann", 20, {"b": 0.1})], state)
    (demand,) = at(5_000, state)
    assert list(expected(demand)) == [("b", "gold")]


def test_a_user_who_changes_pool_and_tier_leaves_nothing_behind() -> None:
    state: State = {}
    feed([prediction("ann", 10, {"a": 0.5})], state)
    feed([prediction("ann", 20, {"a": 0.5}, tier="bronze", pool="q")], state)
    found = {d.pool: list(expected(d)) for d in at(5_000, state)}
    assert found == {"p": [], "q": [("a", "bronze")]}


def test_what_is_asked_of_a_pool_too_many_is_refused_and_the_others_are_summed() -> None:
    state, config = State(), replace(EXACT, most_strangers=1)
    feed([prediction("ann", 10, {"a": 0.5})], state)
    theirs = replace(feedback("base", 1), pool="q")
    for event in (prediction("eve", 20, {"a": 0.5}, pool="q"), theirs):
        with pytest.raises(NoRoom, match=r"pool 'q' is one too many: .* at most 1 that no cat"):
            feed([event], state, config=config)
    assert [demand.pool for demand in at(FOR_EVER_MS, state)] == ["p"]


# --------------------------------------------------------------------- time


def test_demand_is_sent_once_a_tick_and_includes_the_prediction_that_opened_it() -> None:
    events: list[Record] = [prediction(user, int(user), {user: 0.5}) for user in ("500", "900")]
    first, second = feed([*events, prediction("1000", 1_000, {"1000": 0.5})])
    assert [first.at_ms, second.at_ms] == [500, 1_000]
    assert [name for name, _ in expected(second)] == ["500", "900", "1000"]


def test_a_clock_that_was_a_year_ahead_is_set_back_by_the_next_tick() -> None:
    state, year = State(), 366 * 24 * HOUR_MS
    asks("ann", range(year, year + 100_000, 10_000), state)
    feed([feedback("base", 100), request("draw", "r", year + 90_000)], state)
    learnt = sums(state).hazard.cells["spent"].tolist()

    assert at(10_000, state) == []
    (demand,) = feed([prediction("bob", 20_000, {"a": 0.5})], through_bytes(state))

    assert demand.at_ms == 20_000
    assert {row.service: row.seen for row in demand.services} == {"a": 0, "draw": 1}
    assert [measured.service for measured in demand.warm_ups] == ["base"]
    assert sums(state).hazard.cells["spent"].tolist() == learnt
    assert not [key for key in state if key.startswith("\x00until")]


def test_feedback_does_not_move_time() -> None:
    state: State = {}
    assert feed([feedback("base", 100)], state) == []
    assert due(state) is None


def test_nothing_is_due_when_nothing_was_heard() -> None:
    assert due({}) is None


def test_demand_is_due_at_the_next_tick_after_a_prediction() -> None:
    state: State = {}
    feed([prediction("ann", 10, {"a": 0.5}), prediction("bob", 20, {"a": 0.5})], state)
    assert due(state) == TICK_MS


def test_a_prediction_at_the_time_of_the_demand_sent_last_is_due_at_the_next_tick() -> None:
    state: State = {}
    feed([prediction("ann", 10, {"a": 0.5}), prediction("bob", 10, {"b": 0.5})], state)
    assert due(state) == TICK_MS
    assert list(expected(at(TICK_MS, state)[0])) == [("a", "gold"), ("b", "gold")]


def test_demand_is_sent_once_more_a_tick_after_a_prediction() -> None:
    state: State = {}
    feed([prediction("ann", 500, {"a": 0.5})], state)
    assert [demand.at_ms for demand in later(EDGES_MS[1] - 1, state)] == [TICK_MS]


def test_without_a_prediction_demand_is_due_when_users_enter_a_next_stage() -> None:
    state: State = {}
    feed([prediction("ann", 10, {"a": 0.5}), prediction("bob", 7_000, {"a": 0.5})], state)
    at(7_000 + TICK_MS, state)
    assert due(state) == EDGES_MS[1]
    at(EDGES_MS[1], state)
    assert due(state) == 7_000 + EDGES_MS[1]


def test_a_tick_before_it_is_due_does_nothing() -> None:
    state: State = {}
    feed([prediction("ann", 10, {"a": 0.5})], state)
    at(TICK_MS, state)
    before = {key: Aggregator().encode(row) for key, row in state.items()}
    assert at(EDGES_MS[1] - 1, state) == []
    assert {key: Aggregator().encode(row) for key, row in state.items()} == before


def test_a_change_below_the_share_that_is_news_is_not_published() -> None:
    """The rate without anything learnt halves at 15 s."""
    for news, sent in ((1.2, 0), (0.4, 1)):
        state: State = {}
        feed([prediction("ann", 0, {"a": 0.5})], state)
        at(TICK_MS, state)
        assert len(at(EDGES_MS[1], state, replace(EXACT, news=news))) == sent


def test_changes_add_up_to_news() -> None:
    state: State = {}
    feed([prediction("ann", 0, {"a": 0.5})], state)
    at(TICK_MS, state)
    first, *_ = later(HOUR_MS, state, replace(EXACT, news=1.2))
    assert first.at_ms == EDGES_MS[2]


def test_a_pool_of_start_up_times_alone_is_no_news() -> None:
    state: State = {}
    feed([replace(feedback("base", 100), pool="q"), prediction("ann", 0, {"a": 0.5})], state)
    at(TICK_MS, state)
    assert at(EDGES_MS[1], state, replace(EXACT, news=1.2)) == []


def test_demand_is_sent_again_before_it_expires_though_nothing_has_changed() -> None:
    state, config = State(), replace(EXACT, news=1e9)
    first = feed([prediction("ann", 0, {"a": 0.5})], state)
    sent = [*first, *later(30 * 24 * HOUR_MS, state, config)]
    assert len(sent) > 10
    assert all(older.expires_ms > newer.at_ms for older, newer in pairwise(sent))


def test_demand_is_sent_ever_more_seldom_while_nobody_asks() -> None:
    state: State = {}
    feed([prediction("ann", 0, {"a": 0.5})], state)
    assert len(later(30 * 24 * HOUR_MS, state)) < 60


def test_a_prediction_from_the_future_does_not_age_the_silences_of_the_present() -> None:
    state: State = {}
    feed([prediction("ann", 1, {"a": 0.5})], state, record_ms=1)
    (demand,) = feed([prediction("bob", 80_000_000, {"b": 0.5})], state, record_ms=2_000)
    assert demand.at_ms == 2_000
    assert expected(demand)["a", "gold"] == pytest.approx(0.5 * FIRST, rel=1e-5)


def test_a_single_time_far_ahead_is_not_believed_and_a_second_one_is() -> None:
    state: State = {}
    far_ms = 40 * 86_400_000
    feed([prediction("ann", 0, {"a": 0.5})], state)
    assert feed([prediction("bob", far_ms, {"b": 0.5})], state) == []
    (demand,) = feed([prediction("cy", 2_000, {"c": 0.5})], state)
    assert demand.at_ms == 2_000
    assert feed([prediction("bob", far_ms, {"b": 0.5})], state)[0].at_ms == far_ms


# --------------------------------------------------------------------- what silences teach


def test_silent_users_are_expected_less_and_less() -> None:
    state: State = {}
    for user in range(30):
        asks(str(user), range(user * 100_000, user * 100_000 + 50_000, 5_000), state)
    last_ms = 29 * 100_000 + 45_000
    ages_ms = (20_000, 60_000, 300_000, HOUR_MS, 24 * HOUR_MS, 30 * 24 * HOUR_MS)
    rates = [later(last_ms + age_ms, state, NOW)[-1].services[29].expected for age_ms in ages_ms]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] / 10_000


def test_a_user_who_asks_at_intervals_is_expected_when_it_is_time() -> None:
    state: State = {}
    asks("ann", range(0, 40 * 1_700_000, 1_700_000), state)
    last_ms = 39 * 1_700_000
    early, due_now = (
        expected(later(last_ms + age_ms, state, NOW)[-1])["ann", "gold"]
        for age_ms in (1_000_000, 1_600_000)
    )
    assert early < 0.02 < due_now / 5


def test_users_count_with_the_highest_hazard_of_the_time_ahead() -> None:
    """Users who come back after 50 s each are expected at once by who looks 60 s ahead."""
    now, ahead = (
        expected(asks("ann", range(0, 5_000_001, 50_000), {}, config)[-1])["ann", "gold"]
        for config in (NOW, replace(EXACT, margin_ms=60_000))
    )
    assert now < 0.1
    assert ahead > 1.0


def test_a_user_unlike_the_others_of_a_context_has_a_rate_of_their_own() -> None:
    """Both have asked a minute ago; ann will again, bob is gone for two hours."""
    state: State = {}
    for bob_ms in range(0, 10 * 2 * HOUR_MS, 2 * HOUR_MS):
        for ann_ms in range(bob_ms, bob_ms + 2 * HOUR_MS, 60_000):
            asks("ann", range(ann_ms, ann_ms + 1), state)
            if ann_ms < bob_ms + 120_000:
                asks("bob", range(ann_ms, ann_ms + 1), state)
    for now_ms in (20 * HOUR_MS, 20 * HOUR_MS + 60_000):
        for user in ("ann", "bob"):
            asks(user, range(now_ms, now_ms + 1), state)
    found = expected(later(20 * HOUR_MS + 61_000, state, NOW)[-1])
    assert found["ann", "gold"] > 2 * found["bob", "gold"] > 0


def test_users_who_come_back_in_a_wave_raise_what_is_expected_of_the_others() -> None:
    """Two hundred users rest for ten hours; then twenty return within minutes."""
    state: State = {}
    for i in range(200):
        feed([prediction(f"u{i}", 0, {"a": 1.0})], state)
    before = expected(later(10 * HOUR_MS, state)[-1])["a", "gold"]
    for i in range(20):
        feed([prediction(f"u{i}", 10 * HOUR_MS + i * 6_000, {"b": 1.0})], state)
    after = expected(later(10 * HOUR_MS + 120_000, state)[-1])["a", "gold"]
    assert after > 1.3 * before


def test_the_tempo_forgets_and_has_bounds() -> None:
    wave = DemandTempo().after(1, 0.0)
    for now_ms in range(1, 1_000):
        wave = wave.after(now_ms, 0.0, asked=1)
    assert wave.ratio == 4.0
    assert wave.after(24 * HOUR_MS, 0.0).ratio == pytest.approx(1.0, abs=1e-3)
    assert wave.after(24 * HOUR_MS, 0.001).ratio == 0.25


def test_a_user_is_at_most_sixteen_times_as_eager_as_others() -> None:
    assert [UserTally(10**6, 0.0).frailty, UserTally().frailty] == [16.0, 1.0]


# --------------------------------------------------------------------- the wheel


def test_a_stage_ends_at_most_an_eighth_of_its_length_early_and_never_late() -> None:
    for entered_ms in (0, 1, 999, 123_456, 10**12 + 7):
        for stage, begin_ms, end_ms in passages(entered_ms, entered_ms + FOR_EVER_MS, TICK_MS):
            length_ms = EDGES_MS[stage + 1] - EDGES_MS[stage]
            assert 7 / 8 * length_ms <= end_ms - begin_ms <= length_ms


def test_the_stages_of_a_silence_end_with_the_one_it_is_in() -> None:
    assert list(passages(0, 20_000, TICK_MS)) == [(0, 0, 15_000), (1, 15_000, 30_000)]


def test_a_thousand_users_who_have_been_silent_for_days_share_a_few_buckets() -> None:
    state, random = State(), Random(1)
    for i, made_ms in enumerate(sorted(random.randrange(12 * HOUR_MS) for _ in range(1_000))):
        feed([prediction(f"u{i}", made_ms, {"a": 0.5})], state)
    at(10 * 24 * HOUR_MS, state)
    buckets = [row for row in state.values() if isinstance(row, SilenceBucket)]
    assert sum(bucket.users for bucket in buckets) == 1_000
    assert len(buckets) < 5


GAPS_MS = st.sampled_from([0, 1, 700, 9_000, 50_000, 400_000, 5_000_000, 10**8, 6 * 10**9])
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cy"]),
        GAPS_MS,
        st.dictionaries(st.sampled_from("abc"), st.floats(0.0, 1.0), max_size=3),
        st.sampled_from("ppq"),
        st.sampled_from(["", "bytes", "tick"]),
    ),
    max_size=30,
)
Events = list[tuple[str, int, dict[str, float], str, str]]


def live_through(events: Events, state: State, config: AggregatorConfig) -> tuple[State, int]:
    """The state after these events, and the time."""
    now_ms = 1_000_000
    for user, gap_ms, vector, pool, then in events:
        now_ms += gap_ms
        feed([prediction(user, now_ms, vector, pool=pool)], state, config=config)
        if then == "bytes":
            state = through_bytes(state)
        elif then == "tick":
            at(now_ms + 20_000, state, config)
    return state, now_ms


class CountedAgain:
    """Sums over all users of a pool, counted one by one."""

    def __init__(self, pool: str, state: State) -> None:
        self.row = sums(state, pool)
        self.rates = np.zeros((2, len(self.row.series) + 1), np.int64)
        self.rate = [0, 0]
        self.inside, self.since = np.zeros((2, len(self.row.hazard.cells)), np.int64)
        for user in state.values():
            if isinstance(user, SilentUser) and (user.pool, user.epoch) == (pool, self.row.epoch):
                self._count(user, state)

    def _count(self, user: SilentUser, state: State) -> None:
        *_, (stage, begin_ms, end_ms) = passages(user.entered_ms, self.row.passed_ms, TICK_MS)
        if end_ms <= self.row.passed_ms:
            return  # has left the last stage
        bucket = state[f"\x00until/{end_ms}/{user.context}/{stage}/{user.pool}"]
        assert isinstance(bucket, SilenceBucket)
        late = stage >= LATE
        units = user.vectors[PHASE_OF[stage]]
        self.rates[int(late), user.series] += bucket.rate * units
        self.rate[late] += bucket.rate * round(user.tallies[user.context].frailty * UNIT)
        for cells in (user.context * STAGES, len(self.inside) - STAGES):
            self.inside[cells + stage] += 1
            self.since[cells + stage] += begin_ms


@given(events=EVENTS)
def test_running_sums_equal_a_sum_over_all_users(events: Events) -> None:
    """Exactly, whatever came and went through bytes."""
    state, _ = live_through(events, {}, EXACT)
    for pool in "pq":
        if f"\x00pool/{pool}" not in state:
            continue
        again = CountedAgain(pool, state)
        row = again.row
        for kept, counted in zip((row.early, row.late), again.rates, strict=True):
            size = max(len(kept.values), len(counted))
            values = np.zeros((2, size), np.int64)
            values[0, : len(kept.values)], values[1, : len(counted)] = kept.values, counted
            assert values[0].tolist() == values[1].tolist()
        assert [row.rate - row.late_rate, row.late_rate] == again.rate
        assert row.hazard.cells["inside"].tolist() == again.inside.tolist()
        assert row.hazard.cells["since"].tolist() == again.since.tolist()


@given(events=EVENTS)
def test_nothing_is_left_when_everyone_has_been_silent_for_longer_than_all_stages(
    events: Events,
) -> None:
    state, now_ms = live_through(events, {}, EXACT)
    at(now_ms + FOR_EVER_MS, state)
    assert [key for key in state if not key.startswith("u/")] == ["\x00pools"] * bool(events)
    assert due(state) is None


@given(events=EVENTS)
def test_the_sums_of_a_pool_that_everyone_has_left_are_zero(events: Events) -> None:
    state: State = {}
    feed([feedback("base", 100), replace(feedback("base", 100, "r2"), pool="q")], state)
    state, now_ms = live_through(events, state, EXACT)
    at(now_ms + FOR_EVER_MS, state)
    for row in (sums(state, "p"), sums(state, "q")):
        assert not row.early.values.any()
        assert not row.late.values.any()
        assert (row.rate, row.late_rate, row.ends if events else []) == (0, 0, [])
        assert not row.hazard.cells["inside"].any()
        assert not row.hazard.cells["since"].any()


def test_the_last_demand_says_that_nobody_is_expected_any_more() -> None:
    state: State = {}
    feed([prediction("ann", 0, {"a": 0.5})], state)
    assert later(FOR_EVER_MS, state)[-1].services == ()


@given(events=EVENTS, at_event=st.integers(0, 30))
def test_demand_does_not_depend_on_whether_state_went_through_bytes(
    events: Events, at_event: int
) -> None:
    plain, now_ms = live_through(events[:at_event], {}, EXACT)
    stored = through_bytes(plain)
    following: list[Record] = [
        prediction(user, now_ms + 7_000 * i, vector, pool=pool)
        for i, (user, _, vector, pool, _) in enumerate(events[at_event:])
    ]
    assert feed(following, stored) == feed(following, plain)
