"""Each constituent's own past in the decision: logs made to defeat those who know users only."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.allocator.constituent_past import ConstituentPast
from streams.allocator.demanded import DemandedNumber
from streams.allocator.own_pasts import OwnPasts
from streams.allocator.state import SHARED_1
from streams.allocator.state_bytes import decode, encode
from streams.allocator.valuation.advised_values import LESS, MORE, told, told_one
from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.levels import ConstituentTiming
from streams.lab.compare.policies import MINUTE_MS, KeepAlive
from streams.lab.compare.run import OURS, PolicyRow, compare, row_of
from streams.lab.compare.staged import StagedRuns, within
from streams.models.keep_warm.hedge import EXPERTS, PRIOR
from streams.models.keep_warm.own_past import KeepWarmCosts, OwnPast
from streams.models.keep_warm.shared_weights import SharedWeights
from streams.pipeline.replay import replay
from streams.records import Action, Command, Request
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.settings import Settings
from streams.stages.row_encoding import to_row

COSTS = KeepWarmCosts(warm_hour=1.0, wait=0.1, start=0.003)
COLD = COSTS.wait + COSTS.start
Log = list[Request]


def asked(*uses: tuple[float, str, str]) -> Log:
    """Requests by minute, user and service."""
    return [
        Request(request_id=f"r{i}", user=user, service=name, at_ms=int(minute * MINUTE_MS))
        for i, (minute, user, name) in enumerate(sorted(uses))
    ]


def strangers(mean_minutes: float, count: int) -> Log:
    """Nobody comes twice."""
    dice, minute, found = random.Random(3), 0.0, []
    for number in range(count):
        minute += dice.expovariate(1 / mean_minutes)
        found.append((minute, f"u{number}", "a"))
    return asked(*found)


def each(minutes: float, count: int) -> Log:
    """Regular, but each time by someone else."""
    return asked(*((minutes * n, f"u{n}", "a") for n in range(count)))


def all_change() -> Log:
    """Users who come each ten minutes give way to others who come once."""
    often = [(10 * n + user, f"u{user}", "a") for n in range(30) for user in range(2)]
    return asked(*often, *((400 + 3 * n, f"v{n}", "a") for n in range(100)))


LOGS: dict[str, Callable[[], Log]] = {
    "no structure, dense": lambda: strangers(1.0, 200),
    "no structure, at break-even": lambda: strangers(6.0, 150),
    "no structure, sparse": lambda: strangers(90.0, 60),
    "one burst": lambda: asked(*((n / 60, f"u{n}", "a") for n in range(100))),
    "each 7 minutes": lambda: each(7.0, 120),
    "each hour": lambda: each(60.0, 80),
    "users change all at once": all_change,
    "a single user": lambda: asked(*((12 * n + n % 3, "ann", "a") for n in range(100))),
}


def results(log: Log) -> tuple[PolicyRow, list[PolicyRow]]:
    """What the stages come to, and timers."""
    catalog = Catalog.of(
        [
            Constituent(
                service="a",
                needs=Resources(cpu=1, memory=1.0),
                warm_up_ms=10_000,
                price=1.0,
                concurrency=100,
            ),
            Tier(tier="standard", weight=0.01, sla_ms=1_000),
            Pool(pool="default", capacity=Resources(cpu=99, memory=99)),
        ]
    )
    minutes = (0, 1, 2, 5, 10, 20, 30, 60, 120, 240)
    timers = [KeepAlive(m * MINUTE_MS) for m in minutes]
    rows = [r for r in compare(log, catalog, timers, warm_up=0.0) if isinstance(r, PolicyRow)]
    runs = StagedRuns(log, within(catalog, math.inf), log[0].at_ms, Settings(partitions=1))
    return row_of(OURS, "", runs.account(1.0)), rows


@pytest.mark.parametrize("name", LOGS)
def test_whatever_the_log_the_stages_cost_little_more_than_the_best_timer(name: str) -> None:
    ours, timers = results(LOGS[name]())
    assert ours.total_cost <= 1.1 * min(row.total_cost for row in timers) + 5 * COLD


def test_what_comes_regularly_is_started_ahead_although_no_user_comes_twice() -> None:
    ours, timers = results(LOGS["each hour"]())
    assert ours.cold_start_rate < 0.15
    assert ours.total_cost < 0.4 * min(row.total_cost for row in timers)


@given(
    st.floats(0, 10), st.integers(1, 5), st.integers(-1, 5), st.floats(0.01, 5), st.floats(0.01, 5)
)
def test_one_value_is_told_as_all_are(
    value: float, k: int, advised: int, cost: float, keep_cost: float
) -> None:
    one = told_one(value, k, advised, cost, keep_cost)
    found = told(np.array([value]), np.array([k]), np.array([advised]), np.array([cost]), np.array([keep_cost]))  # fmt: skip
    assert found.tolist() == [one]
    if advised >= k:
        assert one >= MORE * cost
    elif advised >= 0:
        assert one <= LESS * keep_cost
    else:
        assert one == value


def numbers(*decisions: tuple[int, int]) -> list[int]:
    """How many are ready after each decision: a time, and the number that the demand would keep."""
    demanded, found = DemandedNumber(), []
    for now_ms, number in decisions:
        demanded = demanded.then(number, now_ms, warm_up_ms=10)
        found.append(demanded.ready)
    return found


def test_what_the_demand_would_start_is_ready_after_the_time_to_start_it() -> None:
    assert numbers((0, 1), (5, 1), (9, 1), (10, 1)) == [0, 0, 0, 1]


def test_what_the_demand_would_start_next_is_ready_with_the_first() -> None:
    assert numbers((0, 1), (5, 2), (10, 2), (11, 3), (20, 3), (21, 3)) == [0, 0, 2, 2, 2, 3]


def test_what_the_demand_would_give_back_is_there_until_the_next_decision() -> None:
    assert numbers((0, 2), (10, 2), (11, 1), (12, 1), (13, 0), (14, 0)) == [0, 2, 2, 1, 1, 0]


def test_what_the_demand_would_start_and_give_back_at_once_is_never_ready() -> None:
    assert numbers((0, 1), (5, 0), (10, 0), (15, 1), (20, 1), (25, 1)) == [0, 0, 0, 0, 0, 1]


def past_of(*minutes: int) -> OwnPast:
    past = OwnPast()
    for minute in minutes:
        past = past.using(minute * MINUTE_MS, minute * MINUTE_MS, COSTS)
    return past


def test_a_row_survives_bytes() -> None:
    row = ConstituentPast(
        past_of(1, 5, 9), COSTS, uses=3, tier="gold", demanded=DemandedNumber(2, 1, 99)
    )
    again = decode(encode(row))
    assert isinstance(again, ConstituentPast)
    assert bytes(again.past) == bytes(row.past)
    assert (again.costs, again.uses, again.tier) == (COSTS, 3, "gold")
    assert again.demanded == row.demanded


def test_what_is_shared_survives_bytes() -> None:
    shared = SharedWeights().including(past_of(1, 90, 200))
    again = decode(encode(shared))
    assert isinstance(again, SharedWeights)
    assert (bytes(again), again.pasts) == (bytes(shared), 1)


@pytest.mark.parametrize("damaged", [b"", b"x", bytes(8 * EXPERTS + 8)])
def test_damaged_weights_are_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"weights of|buffer size"):
        SharedWeights.of(damaged, 1)


def test_a_first_past_has_the_prior_of_one_alone() -> None:
    shared = SharedWeights().including(past_of(1, 90, 200)).without(past_of(1, 90, 200))
    assert shared.prior() == pytest.approx(PRIOR)


def test_a_lesson_that_another_has_paid_for_weighs_half() -> None:
    """With a request each minute those who keep nothing lose at each."""
    taught = [past_of(*range(100)) for _ in range(1_000)]
    prior = np.exp(SharedWeights.of_all(taught).prior())
    assert prior.sum() == pytest.approx(1.0)
    never, always = 0, 20
    assert prior[never] == pytest.approx(math.exp(PRIOR[never]) / 2, rel=0.01)
    assert prior[always] > 1.5 * math.exp(PRIOR[always])


def test_what_pasts_share_does_not_depend_on_their_order() -> None:
    pasts = [past_of(1, 90, 200), past_of(5, 6), past_of(*range(0, 900, 37))]
    shared = SharedWeights()
    for past in reversed(pasts):
        shared = shared.including(past)
    assert bytes(shared) == bytes(SharedWeights.of_all(pasts))


def test_what_an_earlier_release_shared_is_summed_anew() -> None:
    """Its losses in place of weights, of which nothing is kept but that they were there."""
    losses = to_row(SHARED_1, [bytes(8 * EXPERTS), 2])
    rows = {f"k/o/{name}": ConstituentPast(past_of(*range(9)), COSTS, 9) for name in "ab"}
    state = {**rows, "l/o/": decode(losses)}
    catalog = Catalog.of(
        [Constituent(service=name, needs=Resources(), warm_up_ms=1_000, price=1.0) for name in "ab"]
    )
    index = CatalogIndex(catalog)
    timing = ConstituentTiming(index.warm_up_ms, np.zeros(2))
    pasts = OwnPasts(1_000).of("o/", state, index, timing, now_ms=10 * MINUTE_MS, price=1.0)
    assert bytes(pasts.table.shared) == bytes(SharedWeights.of_all(r.past for r in rows.values()))


def test_a_start_that_only_the_own_past_wants_says_so() -> None:
    """Somebody else each ten minutes: nobody is expected, and yet an instance is there in time."""
    catalog = Catalog.of(
        [
            Constituent(service="a-1", needs=Resources(), warm_up_ms=10_000, price=1.0),
            Composite(service="a", steps=(("a-1",),)),
            Tier(tier="standard", weight=0.02, sla_ms=1_000),
            Pool(pool="default", capacity=Resources()),
        ]
    )
    made = list(replay(each(10, 60), Settings(partitions=1), catalog))
    reasons = [r.reason for r in made if isinstance(r, Command) and r.action is Action.PROVISION]
    assert any(reason.endswith("its own past advises 1") for reason in reasons)
