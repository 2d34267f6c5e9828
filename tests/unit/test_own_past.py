"""What a constituent's own past advises, on logs made to defeat it, against timers and templates."""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.lab.compare.ledger import NthInstance
from streams.lab.compare.policies import HybridHistogram, ObservedUse
from streams.models.keep_warm.hedge import NAMED, PAST
from streams.models.keep_warm.own_past import KeepWarmCosts, OwnPast

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
COSTS = KeepWarmCosts(warm_hour=1.0, wait=0.227, start=0.006)  # a wait costs as 14 warm minutes
COLD = COSTS.wait + COSTS.start
Uses = Sequence[int]  # times in ms, in order
Span = tuple[int, int]


def advised(uses: Uses, end_ms: int, costs: KeepWarmCosts = COSTS) -> float:
    """What it costs to follow the advice for one instance; a start before a use is paid for too."""
    past, total, warm_ms = OwnPast(), 0.0, 0
    for number, at_ms in enumerate(uses):
        kept = past.at(at_ms, costs).advice > 0
        total += 0.0 if kept else costs.wait + costs.start
        past = past.using(at_ms, at_ms, costs)
        ahead, now_ms, next_ms = past.ahead(costs), at_ms, [*uses, end_ms][number + 1]
        warm = past.advice > 0
        while now_ms < next_ms:
            change_ms = ahead.at(now_ms).until_ms
            warm_ms += (min(change_ms, next_ms) - now_ms) * warm
            now_ms = min(change_ms, next_ms)
            total += costs.start * (ahead.at(now_ms).number > 0 and not warm and now_ms < next_ms)
            warm = ahead.at(now_ms).number > 0
    return total + warm_ms / HOUR_MS * costs.warm_hour


def windows(uses: Uses, end_ms: int, window: Callable[[int], Span]) -> float:
    """What a policy costs that after each use keeps from one idle time to another."""
    warm_ms, cold, started = 0, 1, 0
    for at_ms, next_ms in zip(uses, [*uses[1:], end_ms], strict=True):
        before_ms, until_ms = window(at_ms)
        idle_ms = next_ms - at_ms
        warm_ms += max(0, min(idle_ms, until_ms) - before_ms)
        cold += next_ms < end_ms and not before_ms <= idle_ms < until_ms
        started += 0 < before_ms < idle_ms
    return warm_ms / HOUR_MS * COSTS.warm_hour + cold * COLD + started * COSTS.start


def timers(uses: Uses, end_ms: int) -> float:
    """The cost of the best timer in hindsight."""
    minutes = (0, 1, 2, 5, 10, 20, 30, 60, 120, 240, 480, 1440)
    return min(windows(uses, end_ms, lambda _, m=m: (0, m * MINUTE_MS)) for m in minutes)  # type: ignore[misc]


def histogram(uses: Uses, end_ms: int) -> float:
    """The cost of the hybrid histogram."""
    policy = HybridHistogram()

    def window(at_ms: int) -> Span:
        before_ms, keep_ms = policy.window(NthInstance("a", 1), ObservedUse(at_ms, at_ms, at_ms))
        return before_ms, before_ms + keep_ms

    return windows(uses, end_ms, window)


def template(uses: Uses, end_ms: int) -> float:
    """The cost of the best repeat of a period in hindsight, kept from a minute before."""
    minutes = (7, 60, 1440, 7 * 1440)
    return min(
        windows(uses, end_ms, lambda _, m=m: ((m - 1) * MINUTE_MS, (m + 1) * MINUTE_MS))  # type: ignore[misc]
        for m in minutes
    )


def poisson(mean_ms: float, count: int, after_ms: int = 0) -> list[int]:
    dice, at_ms, found = random.Random(7), float(after_ms), []
    for _ in range(count):
        at_ms += dice.expovariate(1 / mean_ms)
        found.append(int(at_ms))
    return found


def sessions(count: int) -> list[int]:
    """One user: requests a minute apart, up to twelve, then hours of silence."""
    dice, at_ms, found = random.Random(7), 0, list[int]()
    while len(found) < count:
        for _ in range(dice.randint(1, 12)):
            at_ms += int(dice.expovariate(1 / 73_000))
            found.append(at_ms)
        at_ms += int(dice.lognormvariate(0, 1.5) * 6 * HOUR_MS)
    return found


def users_change() -> list[int]:
    """Often, then seldom, then each half hour."""
    often = poisson(2 * MINUTE_MS, 300)
    seldom = poisson(200 * MINUTE_MS, 60, often[-1])
    return [*often, *seldom, *(seldom[-1] + n * 30 * MINUTE_MS for n in range(1, 100))]


def working_days(days: int) -> list[int]:
    dice = random.Random(7)
    hours = [[dice.uniform(8, 17) for _ in range(20)] for _ in range(days)]
    return [int(day * DAY_MS + h * HOUR_MS) for day in range(days) for h in sorted(hours[day])]


LOGS: dict[str, Uses] = {
    "no structure, dense": poisson(3 * MINUTE_MS, 600),
    "no structure, at break-even": poisson(14 * MINUTE_MS, 600),
    "no structure, sparse": poisson(2 * HOUR_MS, 150),
    "one request": [HOUR_MS],
    "one burst": [HOUR_MS + n * 500 for n in range(300)],
    "users change all at once": users_change(),
    "each 7 minutes": [n * 7 * MINUTE_MS for n in range(300)],
    "each hour": [n * HOUR_MS for n in range(200)],
    "each day": [n * DAY_MS for n in range(50)],
    "each week": [n * 7 * DAY_MS for n in range(30)],
    "just beyond break-even": [int(n * 14.7 * MINUTE_MS) for n in range(300)],
    "a minute, then forty": [(n // 2) * 41 * MINUTE_MS + (n % 2) * MINUTE_MS for n in range(300)],
    "a single user": sessions(400),
    "working days": working_days(30),
}
SHARE, FEW = 1.05, 5 * COLD  # what is lost to the best one in hindsight is at most this


@cache
def cost_of_advice(name: str) -> float:
    """What it costs to follow the advice through a log and a day after it."""
    return advised(LOGS[name], LOGS[name][-1] + DAY_MS)


@pytest.mark.parametrize("name", LOGS)
def test_whatever_the_log_the_advice_costs_little_more_than_the_best_timer(name: str) -> None:
    uses, end_ms = LOGS[name], LOGS[name][-1] + DAY_MS
    assert cost_of_advice(name) <= SHARE * timers(uses, end_ms) + FEW


@pytest.mark.parametrize("name", LOGS)
def test_whatever_the_log_the_advice_costs_little_more_than_the_histogram(name: str) -> None:
    uses, end_ms = LOGS[name], LOGS[name][-1] + DAY_MS
    assert cost_of_advice(name) <= SHARE * histogram(uses, end_ms) + FEW


@pytest.mark.parametrize("name", LOGS)
def test_whatever_the_log_the_advice_costs_little_more_than_a_seasonal_template(name: str) -> None:
    uses, end_ms = LOGS[name], LOGS[name][-1] + DAY_MS
    assert cost_of_advice(name) <= SHARE * template(uses, end_ms) + FEW


@pytest.mark.parametrize("name", ["each 7 minutes", "each hour", "each day", "each week"])
def test_of_a_season_only_the_first_requests_wait(name: str) -> None:
    uses = LOGS[name]
    assert advised(uses, uses[-1] + 1) < 0.3 * timers(uses, uses[-1] + 1)


@pytest.mark.parametrize("warm_hour", [0.01, 100.0])
def test_the_advice_follows_the_price_of_warm_time(warm_hour: float) -> None:
    """Next to nothing, so all is kept; or a wait costs as 8 s, so all is given back at once."""
    costs, uses = COSTS._replace(warm_hour=warm_hour), LOGS["no structure, at break-even"]
    end_ms = uses[-1] + 1
    always = COLD + (end_ms - uses[0]) / HOUR_MS * warm_hour
    assert advised(uses, end_ms, costs) <= SHARE * min(always, COLD * len(uses)) + FEW


def test_as_many_are_kept_as_come_at_once() -> None:
    past = OwnPast()
    for minute in range(0, 600, 5):
        past = past.using(minute * MINUTE_MS, minute * MINUTE_MS + 1_000, COSTS, count=3)
    assert past.at(600 * MINUTE_MS, COSTS).advice == 3


def test_instances_in_use_are_not_those_that_a_next_request_finds() -> None:
    """Two overlap each time, and one comes alone a while later: two are kept for it all the same."""
    past = OwnPast()
    for minute in range(0, 600, 5):
        at_ms = minute * MINUTE_MS
        past = past.using(at_ms, at_ms + 20_000, COSTS).using(at_ms + 5_000, at_ms + 9_000, COSTS)
    assert past.at(600 * MINUTE_MS, COSTS).advice == 2


@pytest.mark.parametrize(("together", "kept"), [(1, 0), (8, 1)])
def test_an_instance_pays_sooner_where_several_would_wait_for_one_start(
    together: int, kept: int
) -> None:
    """Each half an hour or so, which costs two waits: too much for one user, not for eight."""
    past, at_ms, chance = OwnPast(), 0, random.Random(2)
    for _ in range(60):
        at_ms += int(chance.uniform(20, 40) * MINUTE_MS)
        for number in range(together):
            asked_ms = at_ms + number * 2_500
            past = past.using(asked_ms, asked_ms, COSTS, start_ms=20_000)
    assert past.at(at_ms + 10 * MINUTE_MS, COSTS).advice == kept


def foreseen(uses: Uses, number: int, before_ms: int) -> OwnPast:
    """The past when the caller names a number so long before each use, and 0 after it."""
    past = OwnPast()
    for at_ms in uses:
        past = past.naming(number, at_ms - before_ms, COSTS)
        past = past.using(at_ms, at_ms, COSTS).naming(0, at_ms, COSTS)
    return past


def test_who_foresees_uses_that_nobody_else_does_is_followed() -> None:
    uses = LOGS["no structure, sparse"][:50]
    past, at_ms = foreseen(uses, 1, MINUTE_MS), uses[-1] + HOUR_MS
    assert past.at(at_ms, COSTS).advice == 0
    assert past.naming(1, at_ms, COSTS).advice == 1


def test_who_names_what_is_never_used_is_not_followed() -> None:
    uses = LOGS["no structure, sparse"][:50]
    past, at_ms = foreseen(uses, 9, HOUR_MS), uses[-1] + HOUR_MS
    assert past.naming(9, at_ms, COSTS).advice <= 1


GAPS_MS = st.lists(st.integers(0, 3 * HOUR_MS), min_size=1, max_size=20)


def at_ends(gaps_ms: Sequence[int]) -> list[int]:
    return [sum(gaps_ms[: n + 1]) for n in range(len(gaps_ms))]


@given(gaps_ms=GAPS_MS, asked=st.lists(st.integers(0, 60 * HOUR_MS), max_size=20))
@settings(deadline=None)
def test_it_does_not_matter_how_often_time_is_told(gaps_ms: list[int], asked: list[int]) -> None:
    once, often, before_ms = OwnPast(), OwnPast(), 0
    for at_ms in at_ends(gaps_ms):
        once = once.using(at_ms, at_ms + 1_000, COSTS)
        for told_ms in sorted(told for told in asked if before_ms <= told <= at_ms):
            often = often.at(told_ms, COSTS) if before_ms else often
        often, before_ms = often.using(at_ms, at_ms + 1_000, COSTS), at_ms
    assert bytes(once) == bytes(often)


@pytest.mark.parametrize("days", [1, 15, 16, 100, 3000])
def test_nor_does_it_in_a_long_silence(days: int) -> None:
    past = OwnPast()
    for at_ms in LOGS["a single user"][:100]:
        past = past.using(at_ms, at_ms, COSTS)
    end_ms = at_ms + days * DAY_MS
    told = past
    for share in (0.1, 0.35, 0.77):
        told = told.at(at_ms + int(share * days * DAY_MS), COSTS)
    assert bytes(told.at(end_ms, COSTS)) == bytes(past.at(end_ms, COSTS))


@given(gaps_ms=GAPS_MS, asked=st.lists(st.integers(0, 60 * HOUR_MS), max_size=20))
@settings(deadline=None)
def test_the_advice_ahead_is_what_the_past_advises_then(
    gaps_ms: list[int], asked: list[int]
) -> None:
    past = OwnPast()
    for at_ms in at_ends(gaps_ms):
        past = past.using(at_ms, at_ms, COSTS)
    ahead = past.ahead(COSTS)
    for later_ms in asked:
        number, until_ms, _ = ahead.at(at_ms + later_ms)
        assert number == past.at(at_ms + later_ms, COSTS).advice
        assert number == past.at(until_ms - 1, COSTS).advice


@given(gaps_ms=GAPS_MS)
@settings(deadline=None)
def test_a_past_survives_bytes_and_is_learnt_further(gaps_ms: list[int]) -> None:
    past = again = OwnPast()
    for at_ms in at_ends(gaps_ms):
        past, again = (one.using(at_ms, at_ms, COSTS) for one in (past, OwnPast.of(bytes(again))))
    assert bytes(past) == bytes(again)


def test_the_state_has_a_bounded_size_whatever_comes() -> None:
    past = OwnPast()
    for minute in range(200):
        past = past.using(minute * MINUTE_MS, minute * MINUTE_MS + HOUR_MS, COSTS, count=50)
    assert len(bytes(past)) == PAST.itemsize <= 18_432
    assert past.advice == 64


def test_a_past_is_not_changed_by_what_follows_from_it() -> None:
    past = OwnPast().using(0, 1_000, COSTS)
    before = bytes(past)
    past.at(HOUR_MS, COSTS).naming(4, HOUR_MS, COSTS)
    assert bytes(past) == before


def waited(*uses: tuple[int, int], start_s: int = 10) -> float:
    """What the timer that never ends was charged for waits by uses from second to second."""
    past = OwnPast()
    for at_s, until_s in uses:
        past = past.using(1_000 * at_s, 1_000 * until_s, COSTS, start_ms=1_000 * start_s)
    return float(past._records["waited"][0][NAMED - 1])


def test_a_use_that_finds_all_in_use_waits_for_a_start_or_until_one_is_free() -> None:
    share = COSTS.in_cold_starts[1]
    assert waited((0, 50)) == 1.0
    assert waited((0, 50), (20, 59)) == 1.0 + 1.0
    assert waited((0, 50), (45, 59)) == pytest.approx(1.0 + 0.5 + 0.5 * share)


def test_the_next_but_one_waits_until_two_are_free_unless_a_start_ends_before() -> None:
    """At 40 s the start of the second one still takes 9 s; the first one is in use until 50 s."""
    share = COSTS.in_cold_starts[1]
    both = waited((0, 50), (39, 59)), waited((0, 50), (39, 59), (40, 59))
    assert both[1] - both[0] == pytest.approx(0.9 + 0.1 * share)
    assert waited((0, 50), (39, 59), (51, 59)) == both[0]  # ready by then, and kept


def test_a_use_does_not_wait_beside_instances_that_are_ready() -> None:
    """While a third one is started the second is free."""
    three = waited((0, 40), (15, 35), (30, 33))
    assert waited((0, 40), (15, 35), (30, 33), (36, 37)) == three


def test_time_does_not_run_backwards() -> None:
    past = OwnPast().using(HOUR_MS, HOUR_MS, COSTS)
    assert bytes(past.at(0, COSTS)) == bytes(past)


def former(release: str) -> OwnPast:
    """Forty uses 53 minutes apart, as an earlier release wrote them."""
    packed = Path(__file__).parent / "golden" / "own-past" / f"{release}.b64"
    return OwnPast.of(zlib.decompress(base64.b64decode(packed.read_text())))


@pytest.mark.parametrize("release", ["without-days", "whole-starts", "without-ready"])
def test_a_past_of_an_earlier_release_advises_what_it_did(release: str) -> None:
    past = former(release)
    costs, last_ms = KeepWarmCosts(warm_hour=1.0, wait=0.2, start=0.01), 39 * 53 * MINUTE_MS
    minutes = (1, 5, 20, 50, 52, 53, 60, 120)
    found = [past.at(last_ms + m * MINUTE_MS, costs).advice for m in minutes]
    assert found == [0, 0, 0, 1, 1, 1, 0, 0]


def test_timers_that_an_earlier_release_had_not_begin_between_their_neighbours() -> None:
    day, *days, forever = former("without-days")._records["loss"][0][NAMED - 5 : NAMED]
    assert days == [(day + forever) / 2] * 3


def test_damaged_bytes_are_refused() -> None:
    for data in (b"", b"x", bytes(OwnPast())[8:]):
        with pytest.raises(ValueError, match="bytes where"):
            OwnPast.of(data)


def test_a_silence_of_fifty_years_is_looked_over_in_few_steps() -> None:
    ahead = OwnPast().using(0, 1_000, COSTS).ahead(COSTS)
    at_ms, steps = 0, 0
    while at_ms < 50 * 365 * 24 * HOUR_MS:
        at_ms, steps = ahead.at(at_ms).until_ms, steps + 1
    assert steps < 3_000
