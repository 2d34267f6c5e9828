from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.allocator.calibration import DemandCalibration, Pair, RequestSeries, arrivals
from streams.allocator.valuation.bursts import ALARM, FORGOTTEN, PRIOR
from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.occupancy import Floats
from streams.records.catalog import Catalog, Composite, Constituent, Resources, Tier

HORIZON_MS, TICK_MS = 60_000, 1_000
PAIR = ("draw", "gold")
OTHER = ("draw", "free")
ANATOMY = CatalogIndex(
    Catalog.of(
        [
            Constituent(service="base", needs=Resources(), warm_up_ms=5_000, price=1.0),
            Composite(service="draw", steps=(("base",),)),
            Tier(tier="gold", weight=1.0, sla_ms=0),
            Tier(tier="bronze", weight=0.1, sla_ms=0),
        ]
    )
)
PLACE = ANATOMY.place(PAIR)
assert PLACE is not None


def asked(expected: float) -> Floats:
    shape = (len(ANATOMY.services), len(ANATOMY.tiers))
    mean = np.zeros(shape)
    mean[PLACE] = expected
    return mean


class World:
    """A pool whose requests are counted tick by tick."""

    def __init__(self) -> None:
        self.watch, self.now_ms = DemandCalibration(), 1_000
        self._advance(0.0)

    def tick(self, count: int, expected: float) -> float:
        """What is asked after a tick with so many requests, when so many were expected."""
        self.now_ms += TICK_MS
        if count:
            self.watch = replace(self.watch, arrived={PAIR: count})
        lifted = self._advance(expected)
        return float(lifted[PLACE])

    def _advance(self, expected: float) -> Floats:
        self.watch, _ = self.watch.advance(asked(expected), ANATOMY, self.now_ms, HORIZON_MS)
        return self.watch.lift(asked(expected), ANATOMY, HORIZON_MS)


def test_a_burst_is_followed_at_once_and_forgotten_when_it_is_over() -> None:
    world = World()
    for _ in range(30):
        assert world.tick(0, 1.0) == 1.0
    during = [world.tick(5, 1.0) for _ in range(10)]
    assert during[1] > 30.0
    assert during[-1] == pytest.approx(5 * HORIZON_MS / TICK_MS, rel=0.4)
    after = [world.tick(0, 1.0) for _ in range(90)]
    assert after[-1] == 1.0


def test_a_decision_at_the_same_time_sees_the_same_burst() -> None:
    world = World()
    lifted = [world.tick(6, 1.0) for _ in range(3)][-1]
    watch, arrived = world.watch.advance(asked(1.0), ANATOMY, world.now_ms, HORIZON_MS)
    assert arrived == {}
    again = watch.lift(asked(1.0), ANATOMY, HORIZON_MS)
    assert float(again[PLACE]) == lifted > 1.0


@pytest.mark.parametrize("expected", [6.0, 60.0, 600.0])
def test_what_comes_as_expected_hardly_ever_raises_an_alarm(expected: float) -> None:
    numbers, world = np.random.default_rng(3), World()
    rate = expected * TICK_MS / HORIZON_MS
    lifted = [world.tick(int(n), expected) > expected for n in numbers.poisson(rate, 2_000)]
    assert sum(lifted) < 0.02 * len(lifted)


def test_the_first_request_after_a_long_silence_is_compared_with_what_was_expected_then() -> None:
    world = World()
    for _ in range(3):
        world.tick(1, 0.1)  # in a minute, once the session is over
    before = world.watch.series[PAIR]

    world.now_ms += 9 * HORIZON_MS - TICK_MS
    world.tick(1, 60.0)  # a session begins

    kept = math.exp(-9 / 50)
    assert world.watch.series[PAIR].expected == pytest.approx(kept * before.expected + 0.9)


def test_users_who_ask_more_often_than_expected_are_no_burst_for_ever() -> None:
    world = World()
    for _ in range(600):
        world.tick(3, 60.0)
    assert world.tick(3, 60.0) == 60.0


def test_only_requests_between_two_demands_count_and_a_count_begun_anew_is_new() -> None:
    assert arrivals(None, {PAIR: 1_000}) == {}
    assert arrivals({PAIR: 1_000}, {PAIR: 1_004}) == {PAIR: 4}
    assert arrivals({PAIR: 1_004}, {PAIR: 1_004}) == {}
    assert arrivals({PAIR: 1_004}, {PAIR: 2}) == {PAIR: 2}


def test_requests_add_up_until_they_are_accounted_for() -> None:
    watch = DemandCalibration().hear({PAIR: 4}).hear({}).hear({PAIR: 2, OTHER: 1})
    assert watch.arrived == {PAIR: 6, OTHER: 1}


def test_where_nothing_is_told_of_requests_nothing_is_learnt() -> None:
    world = World()
    for _ in range(600):
        assert world.tick(0, 0.9) == 0.9
    assert len(world.watch.series) == 0


def test_a_series_that_nobody_asks_for_any_more_is_forgotten() -> None:
    world = World()
    world.tick(1, 1.0)
    ticks = 0
    while world.watch.series:
        world.tick(0, 1.0)
        ticks += 1
    # One request decays to a thousandth with a time constant of fifty horizons.
    decay_ms = math.log(1 / FORGOTTEN) * 50 * HORIZON_MS
    assert ticks == math.ceil(decay_ms / TICK_MS)


def test_what_the_catalogue_does_not_have_is_not_compared() -> None:
    watch = DemandCalibration(1_000, {("gone", "gold"): 3, PAIR: 1})
    watch, arrived = watch.advance(asked(1.0), ANATOMY, 2_000, HORIZON_MS)
    assert list(watch.series) == [PAIR]
    assert arrived == {("gone", "gold"): 3, PAIR: 1}


PAIRS = [("draw", "gold"), ("base", "gold"), ("draw", "bronze"), ("gone", "gold")]
COUNTS = st.dictionaries(st.sampled_from(PAIRS), st.integers(1, 9))
STORY = st.lists(st.tuples(st.integers(1, 200_000), COUNTS, st.floats(0, 90)), max_size=12)


def compared(
    series: dict[Pair, RequestSeries], counts: dict[Pair, int], mean: float, elapsed_ms: int
) -> dict[Pair, RequestSeries]:
    """One series after the other, as the formulas say."""
    found = dict[Pair, RequestSeries]()
    for pair in sorted(({*series, *counts}) - {("gone", "gold")}):
        alarm, rate, came, known, ahead = series.get(pair, RequestSeries())
        count = counts.get(pair, 0)
        expected = ahead * elapsed_ms
        usual = expected * (came + PRIOR) / (known + PRIOR)
        above = math.exp(-elapsed_ms / 60_000) * alarm + count - usual / math.log(2)
        kept = math.exp(-elapsed_ms / (50 * HORIZON_MS))
        new = RequestSeries(
            alarm=min(2 * ALARM, max(0.0, above)),
            rate=rate + (1 - math.exp(-elapsed_ms / 10_000)) * (count / elapsed_ms - rate),
            asked=kept * came + count,
            expected=kept * known + expected,
            ahead=(mean if pair == PAIR else 0.0) / HORIZON_MS,
        )
        if new.alarm > 0.0 or new.asked >= FORGOTTEN:
            found[pair] = new
    return found


@given(story=STORY)
def test_all_series_at_once_are_each_what_it_is_alone(
    story: list[tuple[int, dict[Pair, int], float]],
) -> None:
    watch, now_ms, expected = DemandCalibration(1_000), 1_000, dict[Pair, RequestSeries]()
    for gap_ms, counts, mean in story:
        now_ms += gap_ms
        watch = replace(watch, arrived=counts)
        watch, _ = watch.advance(asked(mean), ANATOMY, now_ms, HORIZON_MS)
        expected = compared(expected, counts, mean, gap_ms)
        assert list(watch.series) == sorted(expected)
        for pair, series in expected.items():
            assert watch.series[pair] == pytest.approx(series, rel=1e-12, abs=1e-12)


@given(story=STORY)
def test_what_was_learnt_before_is_not_changed_by_what_is_learnt_later(
    story: list[tuple[int, dict[Pair, int], float]],
) -> None:
    watch, now_ms = DemandCalibration(1_000), 1_000
    kept = [(watch, watch.form())]
    for gap_ms, counts, mean in story:
        now_ms += gap_ms
        watch = replace(watch, arrived=counts)
        watch, _ = watch.advance(asked(mean), ANATOMY, now_ms, HORIZON_MS)
        watch.lift(asked(mean), ANATOMY, HORIZON_MS)
        kept.append((watch, watch.form()))
    for watch, form in kept:
        assert watch.form() == form
        assert DemandCalibration.of(form) == watch


def test_of_what_an_earlier_release_has_learnt_only_rates_are_read() -> None:
    """It had factors, and expected many times what came: no ratio to correct what is right now."""
    form = [5_000, [["draw", "gold", 2]], [["draw", "gold", 0.5, 0.001, 1_281.0, 15_468.0]]]
    earlier = DemandCalibration.of([*form, [["base", 1_000, 0.75, True, 3.0, 2.0]]])
    assert earlier == DemandCalibration.of(form)
    assert earlier.series == {PAIR: RequestSeries(rate=0.001)}


def test_what_is_learnt_survives_as_plain_values() -> None:
    world = World()
    for count in (0, 9, 9, 0):
        world.tick(count, 1.0)
    assert world.watch.series[PAIR].alarm > ALARM
    assert DemandCalibration.of(world.watch.form()) == world.watch
