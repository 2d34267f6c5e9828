from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from streams.allocator.calibration import ALARM, BEST, WORST, DemandCalibration
from streams.allocator.valuation.catalog_index import CatalogIndex, ExpectedRequests
from streams.records import Demand, ServiceDemand
from streams.records.catalog import Catalog, Composite, Constituent, Resources, Tier

HORIZON_MS, TICK_MS = 60_000, 1_000
PAIR = ("draw", "gold")
ANATOMY = CatalogIndex(
    Catalog.of(
        [
            Constituent(service="base", needs=Resources(), warm_up_ms=5_000, price=1.0),
            Composite(service="draw", steps=(("base",),)),
            Tier(tier="gold", weight=1.0, sla_ms=0),
        ]
    )
)
PLACE = ANATOMY.place(PAIR)
assert PLACE is not None


def asked(expected: float) -> ExpectedRequests:
    shape = (len(ANATOMY.services), len(ANATOMY.tiers))
    mean = np.zeros(shape)
    mean[PLACE] = expected
    return ExpectedRequests(mean, mean.copy())


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
        chance = np.array([min(1.0, expected)])
        self.watch = self.watch.learn(ANATOMY, chance, self.now_ms, HORIZON_MS)
        return float(lifted.mean[PLACE])

    def _advance(self, expected: float) -> ExpectedRequests:
        self.watch, _ = self.watch.advance(asked(expected), ANATOMY, self.now_ms, HORIZON_MS)
        return self.watch.lift(asked(expected), ANATOMY, HORIZON_MS)


def demand(seen: int, at_ms: int = 0) -> Demand:
    services = (ServiceDemand(service="draw", tier="gold", expected=0, variance=0, seen=seen),)
    return Demand(pool="p", partition=0, at_ms=at_ms, horizon_ms=HORIZON_MS, services=services)


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
    assert float(again.mean[PLACE]) == lifted > 1.0


@pytest.mark.parametrize("expected", [6.0, 60.0, 600.0])
def test_what_comes_as_expected_hardly_ever_raises_an_alarm(expected: float) -> None:
    numbers, world = np.random.default_rng(3), World()
    rate = expected * TICK_MS / HORIZON_MS
    lifted = [world.tick(int(n), expected) > expected for n in numbers.poisson(rate, 2_000)]
    assert sum(lifted) < 0.02 * len(lifted)


def test_users_who_ask_more_often_than_expected_are_no_burst_for_ever() -> None:
    world = World()
    for _ in range(600):
        world.tick(3, 60.0)
    assert world.tick(3, 60.0) == 60.0


def test_only_requests_between_two_demands_count_and_a_count_begun_anew_is_new() -> None:
    watch = DemandCalibration().hear(None, demand(1_000))
    assert watch.arrived == {}
    watch = watch.hear(demand(1_000), demand(1_004))
    watch = watch.hear(demand(1_004), demand(1_004))
    assert watch.arrived == {PAIR: 4}
    watch = watch.hear(demand(1_004), demand(2))
    assert watch.arrived == {PAIR: 6}


@pytest.mark.parametrize(("came", "expected", "factor"), [(0.2, 0.9, WORST), (0.9, 0.3, BEST)])
def test_trust_is_learnt_from_what_was_needed_and_is_bounded(
    came: float, expected: float, factor: float
) -> None:
    numbers, world = Random(5), World()
    world.tick(1, expected)
    for _ in range(100):
        comes = numbers.random() < came
        for second in range(HORIZON_MS // TICK_MS):
            world.tick(int(comes and second == 9), expected)
    assert world.watch.factors(ANATOMY)[0] == pytest.approx(factor, rel=0.2)
    assert WORST <= world.watch.factors(ANATOMY)[0] <= BEST


def test_where_nothing_is_told_of_requests_nothing_is_learnt() -> None:
    world = World()
    for _ in range(600):
        world.tick(0, 0.9)
    assert world.watch.factors(ANATOMY)[0] == 1.0


def test_what_is_learnt_survives_as_plain_values() -> None:
    world = World()
    for count in (0, 9, 9, 0):
        world.tick(count, 1.0)
    assert world.watch.series[PAIR].alarm > ALARM
    assert DemandCalibration.of(world.watch.form()) == world.watch
