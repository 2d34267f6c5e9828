"""What an operator sets holds, whatever would pay."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import World, actions, constituent, demand, pool, warm

from streams.allocator.constituent_past import ConstituentPast
from streams.allocator.demanded import DemandedNumber
from streams.allocator.own_pasts import owner_of
from streams.records import Action
from streams.records.control import Control, Mode, Pin, Quota
from streams.records.instances import ON_REQUEST
from streams.records.verdicts import Choice


def test_in_shadow_mode_it_is_told_what_would_be_done_and_nothing_is_done() -> None:
    world = World(constituent("a"), pool())
    world.hear(Control(pool="p", mode=Mode.SHADOW))
    for at_ms in (1_000, 2_000, 3_000):
        assert world.hear(demand(at_ms, ("a", "gold", 1.0))) == []
    (verdict,) = world.verdicts
    assert (verdict.choice, verdict.mode, verdict.service) == (
        Choice.START,
        Mode.SHADOW,
        "a",
    )
    assert verdict.value > verdict.cost


@pytest.mark.parametrize(
    "control", [Control(pool="p", mode=Mode.ADVISE), Control(pool="p", paused=True)]
)
def test_when_paused_or_advising_nothing_is_decided_until_resumed(control: Control) -> None:
    world = World(constituent("a"), constituent("b"), pool())
    world.hear(demand(1_000, ("a", "gold", 1.0)))
    world.hear(control)
    for at_ms in (20_000, 30_000, 40_000):
        assert world.hear(demand(at_ms, ("b", "gold", 1.0))) == []
    world.hear(Control(pool="p"))
    world.hear(demand(50_000, ("b", "gold", 1.0)))
    assert "b" in world.live()


def test_when_switched_off_what_is_idle_is_given_back_at_once_and_nothing_is_started() -> None:
    world = World(constituent("a"), pool())
    world.hear(demand(1_000, ("a", "gold", 1.0)))
    assert world.hear(demand(20_000, ("a", "gold", 1.0))) == []
    assert actions(world.hear(Control(pool="p", mode=Mode.OFF))) == [(Action.RELEASE, "a")]
    assert world.hear(demand(21_000, ("a", "gold", 1.0))) == []
    assert world.live() == {}


def test_a_pin_holds_instances_that_nobody_asks_for_at_its_times_only() -> None:
    world = World(constituent("a"), pool())
    world.hear(demand(1_000))
    pin = Pin(service="a", least=2, until_minute=60)
    made = world.hear(Control(pool="p", pins=(pin,)))
    assert actions(made) == [(Action.PROVISION, "a")] * 2
    assert "an operator wants at least 2" in made[0].reason
    for at_ms in range(20_000, 60_000, 5_000):
        assert world.hear(demand(at_ms)) == []
    world.hear(demand(3_600_000))
    world.hear(demand(3_610_000))
    assert world.live() == {}


def test_a_pin_takes_the_place_of_what_only_pays() -> None:
    world = World(constituent("a"), constituent("b"), pool(cpu=1.0))
    world.hear(demand(1_000, ("a", "gold", 1.0)))
    world.hear(demand(20_000, ("a", "gold", 1.0)))
    world.hear(Control(pool="p", pins=(Pin(service="b", least=1),)))
    assert world.live() == {"b": 1}
    assert world.hear(demand(40_000, ("a", "gold", 1.0))) == []
    assert world.live() == {"b": 1}


def test_no_more_are_kept_than_an_operator_allows() -> None:
    world = World(constituent("a"), pool())
    world.hear(demand(1_000, ("a", "gold", 1.0)))
    world.hear(demand(20_000, ("a", "gold", 1.0)))
    world.hear(Control(pool="p", pins=(Pin(service="a", most=0),)))
    assert world.live() == {}
    assert world.hear(demand(30_000, ("a", "gold", 1.0))) == []


def test_an_operators_budget_binds_below_the_pools() -> None:
    world = World(constituent("a"), constituent("b"), pool(budget=5.0))
    world.hear(demand(1_000))
    world.hear(Control(pool="p", budget=1.5))
    world.hear(demand(2_000, ("a", "gold", 1.0), ("b", "gold", 1.0)))
    assert sum(world.live().values()) == 1


def test_a_tier_over_its_quota_costs_no_other_tier_its_starts() -> None:
    world = World(constituent("a"), constituent("b"), pool())
    world.hear(Control(pool="p", quotas=(Quota(tier="bronze", budget=0.5),)))
    world.instances["x"] = warm("b", "x", f"{ON_REQUEST}r")  # of a request of that tier

    made = world.hear(demand(1_000, ("a", "gold", 20.0), ("b", "bronze", 0.4)))

    assert actions(made)[:2] == [(Action.RELEASE, "b"), (Action.PROVISION, "a")]
    assert "tier 'bronze' is over its quota" in made[0].reason


@pytest.mark.parametrize(
    "control", [Control(pool="p", mode=Mode.ADVISE), Control(pool="p", paused=True)]
)
def test_a_pool_in_which_nothing_is_decided_is_not_looked_at_every_second(control: Control) -> None:
    world = World(constituent("a"), pool())
    readied = ConstituentPast(demanded=DemandedNumber(1, 2))  # which is about to fall
    world.state[f"k/{owner_of('p')}a"] = readied
    world.hear(control)
    world.hear(demand(1_000, ("a", "gold", 0.5)))

    for _ in range(3):
        world.pass_time(world.allocator.due(world.state) or 3_600_000)

    assert (world.allocator.due(world.state) or 3_600_000) > 10_000


def test_a_quota_binds_one_tier_only() -> None:
    world = World(*(constituent(name) for name in "abcd"), pool())
    world.hear(demand(1_000))
    world.hear(Control(pool="p", quotas=(Quota(tier="bronze", budget=1.0),)))
    asked = [(name, tier, 0.5) for name, tier in zip("abcd", ["bronze", "gold"] * 2, strict=True)]
    made = world.hear(demand(2_000, *asked))
    assert [c.tier for c in made if c.action is Action.PROVISION] == ["gold", "gold", "bronze"]
    (queued,) = [c for c in made if c.action is Action.QUEUE]
    assert "no quota left" in queued.reason
    assert sum(world.live().values()) == 3
    world.hear(demand(20_000, *asked))
    assert sum(world.live().values()) == 3


def test_control_outlives_the_process() -> None:
    control = Control(
        pool="p",
        mode=Mode.SHADOW,
        budget=2.0,
        pins=(Pin(service="a", least=1, most=3, days=(1, 7), from_minute=60),),
        quotas=(Quota(tier="bronze", budget=1.0),),
        reason="a test",
    )
    world = World(constituent("a"), pool())
    world.hear(control)
    row = world.state["p/p"]
    assert world.allocator.decode(world.allocator.encode(row)) == row


@given(at_minute=st.integers(0, 14 * 24 * 60), day=st.integers(1, 7))
def test_a_pin_over_midnight_belongs_to_the_day_it_begins(at_minute: int, day: int) -> None:
    pin = Pin(service="a", days=(day,), from_minute=22 * 60, until_minute=6 * 60)
    began = datetime.fromtimestamp((at_minute - 6 * 60) * 60, UTC)
    at_ms = at_minute * 60_000
    night = not 6 <= datetime.fromtimestamp(at_minute * 60, UTC).hour < 22
    assert pin.holds(at_ms) == (night and began.isoweekday() == day)


def test_a_pin_of_any_record_can_be_told() -> None:
    pin = Pin(service="a", days=(1, 0, 2**62), from_minute=-1, until_minute=2**62)

    assert "mon 0 4611686018427387904" in pin.words
