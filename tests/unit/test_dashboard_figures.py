from __future__ import annotations

from typing import Any

import pytest

from streams.dashboard.pool_picture import picture
from streams.dashboard.prices import PriceList
from streams.dashboard.spans import SPANS, TimeSteps
from streams.dashboard.timers import ServedConstituent, compare
from streams.dashboard.traffic import money, traffic
from streams.dashboard.trust import sureness, trust
from streams.records.catalog import Catalog, Constituent, Resources, Tier

MINUTE, HOUR = 60_000, 3_600_000
NOW = 1_700_000_000_000 - 1_700_000_000_000 % HOUR + 30 * MINUTE
STEPS = TimeSteps.of(SPANS["1h"], NOW)
PRICES = PriceList(hourly={"a": 3_600.0}, weights={"gold": 2.0})


def asked(at_ms: int, **more: Any) -> dict[str, Any]:
    row = {"at_ms": at_ms, "tier": "gold", "requests": 4, "hits": 3, "refused": 0}
    return {**row, "cold_ms": 500, "saved_ms": 1_500, **more}


# --------------------------------------------------------------------------- traffic and money


def test_requests_are_counted_a_minute_and_hits_in_percent() -> None:
    figures = traffic([asked(STEPS.from_ms), asked(STEPS.from_ms + 2 * MINUTE, hits=0)], STEPS)

    assert figures.per_minute[:3] == [4, 0, 4]
    assert figures.hit_rate[:3] == [75, None, 0]
    assert (figures.requests, figures.hit_percent, figures.cold_ms) == (8, 37.5, 1_000)


def test_a_step_that_has_just_begun_is_not_made_large() -> None:
    steps = TimeSteps.of(SPANS["1h"], NOW + 1_000)

    figures = traffic([asked(NOW)], steps)

    assert figures.per_minute[-1] == 8


def test_of_nobody_no_hit_rate_is_known() -> None:
    assert traffic([], STEPS).hit_percent is None


def test_money_adds_up_from_the_beginning_of_a_span() -> None:
    warm = [{"at_ms": STEPS.from_ms + MINUTE, "service": "a", "warm_ms": 1_000}]

    figures = money([asked(STEPS.from_ms), asked(STEPS.from_ms + MINUTE)], warm, PRICES, STEPS)

    assert figures.saved[:2] == [3, 6]
    assert figures.spent[:2] == [0, 1]
    assert figures.net == 5


def test_a_constituent_without_a_price_is_named() -> None:
    warm = [{"at_ms": STEPS.from_ms, "service": "new", "warm_ms": 1_000}]

    assert money([], warm, PRICES, STEPS).unpriced == {"new"}


def test_without_a_catalogue_nobody_has_said_what_waiting_costs() -> None:
    prices = PriceList.of(Catalog(), [{"service": "a", "price": 2.0}])

    assert prices.weights is None
    assert prices.warm("a", HOUR) == 2.0


# --------------------------------------------------------------------------- timers

EXCLUSIVE = ServedConstituent(start_ms=4_000, serve_ms=1_000, exclusive=True)
SHARED = ServedConstituent(start_ms=4_000, serve_ms=1_000, exclusive=False)


def use(at_ms: int, *services: str, cold_ms: int = 0, saved_ms: int = 4_000) -> dict[str, Any]:
    row = {"at_ms": at_ms, "tier": "gold", "cold_ms": cold_ms, "saved_ms": saved_ms}
    return {**row, "services": list(services), "serve_ms": [0] * len(services)}


def test_the_best_timer_is_the_one_that_costs_least() -> None:
    uses = [use(NOW + n * 100_000, "a") for n in range(10)]
    cheap = PriceList(hourly={"a": 36.0}, weights={"gold": 2.0})  # .01 a second

    found = compare(uses, [], {"a": SHARED}, cheap, NOW + 1_000_000)

    assert found is not None
    assert found.timer_s == 120
    assert found.timer.hit_percent == 100
    assert found.timer.warm == pytest.approx(36.0)
    assert found.timer.waiting == 0


def test_a_timer_that_is_too_short_makes_requests_wait() -> None:
    uses = [use(NOW, "a"), use(NOW + 2 * HOUR, "a")]

    found = compare(uses, [], {"a": SHARED}, PRICES, NOW + 2 * HOUR + 1)

    assert found is not None
    assert found.timer.hit_percent == 50
    assert found.timer.waiting == pytest.approx(4_000 * 0.002 / found.hours)


def test_of_what_serves_one_at_a_time_a_timer_needs_an_instance_for_each() -> None:
    uses = [use(NOW, "a"), use(NOW + 100, "a")]

    one = compare(uses, [], {"a": EXCLUSIVE}, PRICES, NOW + 10_000)
    shared = compare(uses, [], {"a": SHARED}, PRICES, NOW + 10_000)

    assert one is not None
    assert shared is not None
    assert one.timer.hit_percent == 50
    assert shared.timer.hit_percent == 100
    assert one.timer.warm > shared.timer.warm


def test_without_pre_allocation_requests_wait_for_all_that_was_spared() -> None:
    found = compare([use(NOW, "a", cold_ms=1_000)], [], {}, PRICES, NOW + HOUR)

    assert found is not None
    assert found.none.total == 10
    assert found.ours.total == 2


def test_nothing_is_compared_before_anybody_asked() -> None:
    assert compare([], [], {}, PRICES, NOW) is None


# --------------------------------------------------------------------------- trust


def vector(within: float, *, came: bool, at_ms: int = NOW, following: str = "s") -> dict[str, Any]:
    row = {"at_ms": at_ms, "services": ["s"], "probabilities": [0.5], "within": [within]}
    return {**row, "unseen": 0.5, "next": following, "came": ["s"] if came else []}


def test_what_was_promised_is_held_against_what_came() -> None:
    figures = trust([vector(0.25, came=n == 0) for n in range(4)] * 10)

    (one,) = figures.services
    assert (one.promised, one.came, one.entries) == (10, 10, 40)
    assert [tenth.name for tenth in figures.bins] == ["20 to 30 %"]
    assert figures.error == 0


def test_of_a_few_vectors_nothing_is_said() -> None:
    figures = trust([vector(0.9, came=False)])

    assert figures.error is None
    assert figures.newest is None
    assert not figures.drifts


def test_drift_is_when_the_newest_surprise_more_than_the_rest() -> None:
    known = [vector(0.5, came=True, at_ms=NOW + n) for n in range(10) for _ in range(5)]
    strange = [vector(0.5, came=True, at_ms=NOW + 20, following="other") for _ in range(5)]
    for row in strange:
        row["unseen"] = 0.001

    assert not trust(known).drifts
    assert trust([*known, *strange]).drifts


def test_a_time_after_which_nobody_came_again_has_no_surprise() -> None:
    row = {**vector(0.5, came=False), "next": None}

    assert trust([row]).loss == [None]


@pytest.mark.parametrize(
    ("probabilities", "unseen", "word"),
    [
        ([0.9], 0.1, "sure"),
        ([0.6, 0.3], 0.1, "likely"),
        ([0.4, 0.3], 0.3, "a guess"),
        ([0.2], 0.8, "not known yet"),
        ([], 1.0, "not known yet"),
    ],
)
def test_a_vector_says_how_sure_it_is(probabilities: list[float], unseen: float, word: str) -> None:
    assert sureness(probabilities, unseen)[0] == word


# --------------------------------------------------------------------------- the pool

CATALOG = Catalog.of(
    [
        Constituent(service=name, needs=Resources(memory=100), warm_up_ms=1, price=1.0)
        for name in ("a", "b")
    ]
    + [Tier(tier="gold", weight=1.0, sla_ms=1)]
)
CAPACITY = {
    "cpu_capacity": 0, "cpu_used": 0, "memory_capacity": 1_000, "memory_used": 750,
    "bandwidth_capacity": 0, "bandwidth_used": 0,
}  # fmt: skip


def state(service: str, name: str, instances: int) -> dict[str, Any]:
    return {"service": service, "state": name, "instances": instances, "asked_for": 0, "uses": 0}


def test_a_picture_has_instances_by_state_what_waits_and_what_fits() -> None:
    made = picture(
        [state("a", "busy", 1), state("a", "warm", 2)],
        [{"service": "a", "count": 3, "reason": ""}],
        [],
        CAPACITY,
        CATALOG,
    )

    (one,) = made.constituents
    assert (one.counts, one.queued, one.room) == ({"busy": 1, "warm": 2}, 3, 2)
    assert list(made.cold) == ["b"]
    assert made.totals["queued"] == 3
    assert [use.name for use in made.resources] == ["memory"]


def test_what_fits_is_not_known_without_capacity_or_catalogue() -> None:
    states = [state("a", "warm", 1)]

    assert picture(states, [], [], None, CATALOG).constituents[0].room is None
    assert picture(states, [], [], CAPACITY, Catalog()).constituents[0].room is None


@pytest.mark.parametrize(
    ("choice", "bound", "said"),
    [
        ("keep", "value", "kept: 50 % chance in 60 s; worth 2, costs 1"),
        ("start", "value", "one more: 50 % chance in 60 s; worth 2, costs 1"),
        ("queue", "memory", "one more is wanted, memory is short: worth 2, costs 1"),
        ("release", "value", "idle ones go: worth 2, costs 1"),
        ("leave", "value", "none: worth 2, costs 1"),
        ("keep", "pin", "pinned by an operator"),
    ],
)
def test_the_last_decision_is_told_in_a_few_words(choice: str, bound: str, said: str) -> None:
    verdict = {
        "service": "a", "choice": choice, "bound": bound, "value": 2.0, "cost": 1.0,
        "horizon_ms": 60_000, "chance": 0.5, "command_id": "c",
    }  # fmt: skip

    made = picture([state("a", "warm", 1)], [], [verdict], None, CATALOG)

    assert made.constituents[0].why == said
