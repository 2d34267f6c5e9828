from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import groupby
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pools import World, actions, constituent, demand, pool, warm

from streams.allocator.config import AllocatorConfig
from streams.allocator.state import PoolState
from streams.records import (
    Action,
    Command,
    Demand,
    MeasuredWarmUp,
    Utilisation,
)
from streams.records.catalog import Composite, Constituent, Pool, Resources
from streams.records.control import Control, Variant
from streams.records.verdicts import Choice

PRICE_PER_MINUTE = 1.0 / 60  # of any instance here: one is worth starting for twice that
PATIENT = Variant(name="patient", slack=0.2, settle_ms=5_000)


def longest_wait_ms(gold: float, bronze: float) -> float:
    """How long bronze waits at most for a place that gold holds; both are expected requests.

    The net value of what waits counts the more the longer it waits, see `AllocatorConfig.starve_ms`,
    until it outweighs what holds the place.
    """
    ratio = gold * 0.1 * 10 / (bronze * 0.01 * 10 - 2 * PRICE_PER_MINUTE)
    return AllocatorConfig().starve_ms * (ratio - 1)


def test_what_is_likely_used_is_started_and_the_command_says_why() -> None:
    (command,) = World(constituent("base"), pool()).hear(demand(1_000, ("base", "gold", 1.0)))
    assert (command.action, command.service, command.tier) == (Action.PROVISION, "base", "gold")
    assert command.value > command.cost > 0
    assert "probability 0.632" in command.reason  # 1 - 1/e: one use is expected
    assert "tier 'gold'" in command.reason
    assert command.command_id == "p/base/1000/1"


def test_what_is_hardly_used_is_not_started() -> None:
    assert World(constituent("base"), pool()).hear(demand(1_000, ("base", "gold", 1e-4))) == []


def test_a_composite_starts_its_constituents_and_a_shared_one_once() -> None:
    world = World(
        *(constituent(name) for name in ("base", "red", "blue")),
        Composite(service="draw red", steps=(("base",), ("red",))),
        Composite(service="draw blue", steps=(("base",), ("blue",))),
        pool(),
    )
    world.hear(demand(1_000, ("draw red", "gold", 0.5), ("draw blue", "gold", 0.5)))
    assert world.live() == {"base": 1, "blue": 1, "red": 1}


def test_a_part_in_the_shadow_of_a_slower_one_is_worth_less() -> None:
    world = World(
        constituent("slow", warm_up_ms=20_000),
        constituent("quick", warm_up_ms=1_000),
        Composite(service="draw", steps=(("slow", "quick"),)),
        pool(),
    )
    worth = {c.service: c.value for c in world.hear(demand(1_000, ("draw", "gold", 0.5)))}
    assert worth["slow"] > 10 * worth["quick"]


def test_demand_of_all_partitions_counts_until_it_expires() -> None:
    world = World(constituent("base"), pool(), obeys=False)
    asked = ("base", "bronze", 0.2)  # worth 0.02; a start is worth while from 0.033 on
    assert world.hear(demand(1_000, asked)) == []
    assert world.hear(demand(1_100, asked, partition=1)) == []
    assert len(world.hear(demand(2_000, asked))) == 1
    assert world.hear(demand(80_000, asked)) == []


def test_a_command_under_way_is_not_given_again_until_it_expires() -> None:
    world = World(constituent("base"), pool(), obeys=False)
    assert len(world.hear(demand(1_000, ("base", "gold", 1.0)))) == 1
    assert world.hear(demand(10_000, ("base", "gold", 1.0))) == []
    assert len(world.hear(demand(11_000, ("base", "gold", 1.0)))) == 1


def test_what_does_not_fit_is_queued_once_and_started_when_capacity_returns() -> None:
    world = World(constituent("a"), constituent("b"), pool(cpu=1.0))
    asked = (("a", "gold", 0.5), ("b", "gold", 0.5))
    assert actions(world.hear(demand(1_000, *asked))) == [
        (Action.PROVISION, "a"),
        (Action.QUEUE, "b"),
    ]
    assert world.hear(demand(2_000, *asked)) == []
    larger = Resources(cpu=2.0, memory=2.0, bandwidth=2.0)
    world.hear(Utilisation(pool="p", at_ms=3_000, capacity=larger, used=Resources(cpu=1.0)))
    (served,) = world.hear(demand(4_000, *asked))
    assert (served.action, served.service) == (Action.PROVISION, "b")
    assert "queued as p/b/1000/2" in served.reason


def test_what_nobody_needs_makes_room_for_what_is_needed() -> None:
    world = World(constituent("a"), constituent("b"), pool(cpu=1.0))
    world.hear(demand(1_000, ("a", "gold", 0.5)))
    made = world.hear(demand(12_000, ("b", "bronze", 1.0)))
    assert actions(made) == [(Action.RELEASE, "a"), (Action.PROVISION, "b")]


def test_each_resource_binds() -> None:
    for resource in ("cpu", "memory", "bandwidth"):
        needs = Resources(**{resource: 3.0})
        scarce = Pool(
            pool="p", capacity=Resources(**{"cpu": 9, "memory": 9, "bandwidth": 9, resource: 2.0})
        )
        hungry = Constituent(service="a", needs=needs, warm_up_ms=10_000, price=1.0)
        (command,) = World(hungry, scarce).hear(demand(1_000, ("a", "gold", 1.0)))
        assert command.action is Action.QUEUE
        assert f"no {resource} left" in command.reason


def test_the_budget_binds() -> None:
    world = World(constituent("a"), constituent("b"), pool(budget=1.5))
    world.hear(demand(1_000, ("a", "gold", 1.0), ("b", "gold", 1.0)))
    assert sum(world.live().values()) == 1


def test_a_higher_tier_takes_the_idle_instance_of_a_lower_one() -> None:
    world = World(constituent("a"), constituent("b"), pool(cpu=1.0))
    world.hear(demand(1_000, ("a", "bronze", 1.0)))
    taken = world.hear(demand(20_000, ("a", "bronze", 1.0), ("b", "gold", 1.0)))
    assert actions(taken)[:2] == [(Action.RELEASE, "a"), (Action.PROVISION, "b")]
    assert "cpu is short: b for tier 'gold'" in taken[0].reason
    assert [v.bound for v in world.verdicts if v.choice is Choice.RELEASE] == ["cpu"]


def test_a_busy_instance_is_never_taken() -> None:
    world = World(constituent("a"), constituent("b"), pool(cpu=1.0))
    world.instances["i"] = warm("a", "i", "c", busy=True)
    assert actions(world.hear(demand(20_000, ("b", "gold", 1.0)))) == [(Action.QUEUE, "b")]


def test_an_instance_is_started_when_it_is_worth_twice_what_keeping_it_costs() -> None:
    twice = 2 * PRICE_PER_MINUTE / (0.1 * 10)  # requests of gold that each save ten seconds
    assert World(constituent("a"), pool()).hear(demand(1_000, ("a", "gold", 0.99 * twice))) == []
    (command,) = World(constituent("a"), pool()).hear(demand(1_000, ("a", "gold", 1.01 * twice)))
    assert command.cost == pytest.approx(2 * PRICE_PER_MINUTE)


def test_a_start_that_takes_longer_than_the_horizon_is_worth_all_that_it_saves() -> None:
    world = World(constituent("a", warm_up_ms=120_000), pool())
    (command,) = world.hear(demand(1_000, ("a", "gold", 0.003)))
    assert command.action is Action.PROVISION
    assert command.value == pytest.approx(0.003 * 0.1 * 120)


def test_an_idle_instance_is_released_as_soon_as_it_is_worth_less_than_it_costs() -> None:
    world = World(constituent("a"), pool())
    world.hear(demand(1_000, ("a", "gold", 1.0)))
    assert world.hear(demand(20_000, ("a", "gold", 1.01 * PRICE_PER_MINUTE))) == []
    (command,) = world.hear(demand(21_000, ("a", "gold", 0.99 * PRICE_PER_MINUTE)))
    assert (command.action, command.service, command.count) == (Action.RELEASE, "a", 1)
    assert command.value > command.cost
    assert world.live() == {}


def test_what_is_worth_its_cost_once_but_not_twice_is_neither_started_nor_released() -> None:
    world = World(constituent("a"), constituent("b"), pool())
    world.hear(demand(1_000, ("a", "gold", 1.0)))
    for now_ms in range(20_000, 140_000, 1_000):
        between = (1.1, 1.9)[now_ms // 1_000 % 2] * PRICE_PER_MINUTE
        assert world.hear(demand(now_ms, ("a", "gold", between), ("b", "gold", between))) == []
    assert world.live() == {"a": 1}


def test_a_second_instance_is_started_for_the_requests_that_find_the_first_busy() -> None:
    """Each takes a second, so of m in a minute (m/60) / (1 + m/60) find it busy.

    They wait for it, and not for a start of ten seconds.
    """
    asked = 5.0  # of them 0.385 find it busy, and each would save 1
    load = asked / 60
    left = -math.expm1(-(1 - load) * 10) / ((1 - load) * 10)
    assert World(constituent("a"), pool()).hear(demand(1_000, ("a", "gold", 4.0)))[1:] == []
    _, second = World(constituent("a"), pool()).hear(demand(1_000, ("a", "gold", asked)))
    assert second.value == pytest.approx(asked * load / (1 + load) * left, rel=1e-3)
    assert second.value > second.cost == pytest.approx(2 * PRICE_PER_MINUTE)


@pytest.mark.parametrize(("busy", "started"), [(False, 0), (True, 2)])
def test_for_what_comes_later_is_started_later_where_starts_are_fast(
    busy: bool, started: int
) -> None:
    """Seven requests a minute, each of a minute: seven are in service in the long run, not soon."""
    world = World(constituent("a", warm_up_ms=500), pool())
    there = warm("a", "x", "c", busy=busy)
    world.instances["x"] = replace(there, uses=1, busy_ms=60_000, changed_ms=500)
    assert len(world.hear(demand(1_000, ("a", "gold", 7.0)))) == started


def test_a_patient_variant_releases_an_idle_instance_only_when_it_stays_worthless() -> None:
    world = World(constituent("a"), pool())
    world.hear(demand(1_000, ("a", "gold", 1.0)))
    world.hear(Control(pool="p", variants=(PATIENT,)))
    assert world.hear(demand(19_000, ("a", "gold", 0.9 * PRICE_PER_MINUTE))) == []
    assert world.hear(demand(20_000)) == []
    assert world.hear(demand(22_000, ("a", "gold", 1.0))) == []
    assert world.hear(demand(30_000)) == []
    (command,) = world.hear(demand(35_000))
    assert (command.action, command.service, command.count) == (Action.RELEASE, "a", 1)
    assert command.value > command.cost
    assert world.live() == {}


def test_start_ups_as_measured_replace_the_catalogue() -> None:
    def value(count: int) -> float:
        measured = MeasuredWarmUp(
            service="a", count=count, total_ms=2_000 * count, squares_ms2=4e6 * count
        )
        asked = demand(1_000, ("a", "gold", 1.0))
        event = Demand(
            **{name: getattr(asked, name) for name in asked.__slots__} | {"warm_ups": (measured,)}
        )
        (command,) = World(constituent("a"), pool()).hear(event)
        return command.value

    assert value(2) == pytest.approx(1.0 * 0.1 * 10)
    assert value(3) == pytest.approx(1.0 * 0.1 * 2)


def test_every_command_has_a_verdict_with_its_grounds() -> None:
    world = World(constituent("a"), constituent("b"), pool(cpu=1.0))
    commands = world.hear(demand(1_000, ("a", "gold", 1.0), ("b", "gold", 0.5)))
    start, queue = world.verdicts
    assert [start.command_id, queue.command_id] == [c.command_id for c in commands]
    assert (start.choice, start.bound) == (Choice.START, "value")
    assert start.chance == pytest.approx(1 - math.exp(-1.0))
    assert (queue.choice, queue.bound) == (Choice.QUEUE, "cpu")
    assert [(e.service, e.tier, e.requests) for e in start.expected] == [("a", "gold", 1.0)]
    assert "a: started" in [alternative.what for alternative in queue.alternatives]


def test_what_is_left_cold_is_told_once_until_it_comes_closer() -> None:
    world = World(constituent("a"), pool())
    for at_ms in range(1_000, 9_000, 1_000):
        world.hear(demand(at_ms, ("a", "bronze", 0.05)))
    (first,) = world.verdicts
    assert (first.choice, first.have, first.command_id) == (Choice.LEAVE, 0, "")
    assert 0 < first.value < first.cost
    world.hear(demand(9_000, ("a", "bronze", 0.005)))
    assert [v.choice for v in world.verdicts] == [Choice.LEAVE, Choice.LEAVE]
    assert world.verdicts[1].value < first.value


def test_a_pool_that_the_catalogue_does_not_have_is_left_alone() -> None:
    world = World(constituent("a"))
    assert world.hear(demand(1_000, ("a", "gold", 1.0))) == []
    assert world.state == {}


def test_what_others_use_of_the_pool_is_not_given_away() -> None:
    world = World(constituent("a"), pool(cpu=2.0))
    full = Resources(cpu=1.5)
    capacity = Resources(cpu=2.0, memory=2.0, bandwidth=2.0)
    world.hear(Utilisation(pool="p", at_ms=0, capacity=capacity, used=full))
    assert actions(world.hear(demand(1_000, ("a", "gold", 1.0)))) == [(Action.QUEUE, "a")]


ASKED = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["gold", "bronze"]), st.floats(0, 5)),
    max_size=5,
    unique_by=lambda asked: asked[:2],
)
STORY = st.lists(st.tuples(st.integers(0, 8_000), ASKED), min_size=1, max_size=12)


@given(story=STORY, budget=st.floats(0, 6), obeys=st.booleans(), reload=st.booleans())
def test_whatever_is_asked_limits_hold_and_every_command_pays(
    story: list[tuple[int, list[tuple[str, str, float]]]],
    budget: float,
    obeys: bool,
    reload: bool,
) -> None:
    parts = [constituent(name, cpu=1 + i % 3) for i, name in enumerate("abcd")]
    world = World(*parts, pool(cpu=6.0, budget=budget), obeys=obeys)
    now_ms, ids = 1_000, set[str]()
    for gap_ms, asked in story:
        now_ms += gap_ms
        for command in world.hear(demand(now_ms, *asked)):
            assert command.value > command.cost
            assert command.command_id not in ids
            ids.add(command.command_id)
        live = [world.catalog.constituents[n] for n, k in world.live().items() for _ in range(k)]
        assert sum(c.needs.cpu for c in live) <= 6.0
        assert sum(c.price for c in live) <= budget
        if reload:
            encode, decode = world.allocator.encode, world.allocator.decode
            world.state = {key: decode(encode(row)) for key, row in world.state.items()}


@hypothesis_settings(max_examples=40)
@given(
    noise=st.lists(st.tuples(st.integers(500, 20_000), ASKED), min_size=1, max_size=15),
    cap=st.floats(0, 4),
    reactive=st.lists(st.sampled_from("abcd"), max_size=3),
)
def test_with_noise_for_predictions_the_cost_is_at_most_the_reactive_ones_and_the_cap(
    noise: list[tuple[int, list[tuple[str, str, float]]]], cap: float, reactive: list[str]
) -> None:
    """Whatever is predicted, at any time: so it holds for the sum over time as well."""
    world = World(*(constituent(name) for name in "abcd"), pool(cpu=50.0))
    for i, name in enumerate(reactive):
        instance_id = f"r{i}"
        world.instances[instance_id] = warm(name, instance_id, f"standard/{i}", busy=True)
    world.hear(Control(pool="p", budget=cap))
    now_ms = 1_000
    for gap_ms, asked in noise:
        now_ms += gap_ms
        world.hear(demand(now_ms, *asked))
        assert sum(world.live().values()) <= len(reactive) + cap


def test_a_budget_that_is_lowered_takes_back_what_is_worth_least() -> None:
    world = World(constituent("a"), constituent("b"), pool())
    asked = (("a", "gold", 1.0), ("b", "bronze", 1.0))
    world.hear(demand(1_000, *asked))
    world.hear(demand(20_000, *asked))
    assert world.live() == {"a": 1, "b": 1}
    (command,) = world.hear(Control(pool="p", budget=1.0))
    assert (command.action, command.service) == (Action.RELEASE, "b")
    assert "overdrawn" in command.reason
    assert [v.bound for v in world.verdicts if v.choice is Choice.RELEASE] == ["budget"]


def test_what_is_on_its_way_out_is_not_overdrawn_again() -> None:
    world = World(*(constituent(name) for name in "abc"), pool())
    asked = [(name, "gold", 1.0) for name in "abc"]
    world.hear(demand(1_000, *asked))
    world.hear(demand(20_000, *asked))
    world.obeys = False
    assert len(world.hear(Control(pool="p", budget=2.0))) == 1
    made = world.hear(demand(22_000, *asked))
    assert Action.RELEASE not in [command.action for command in made]


def test_gold_is_cold_at_most_half_as_often_as_bronze_and_bronze_is_not_starved() -> None:
    """Forty services, each wanted by turns, so that on average nine tenths of the room is."""
    numbers, names = Random(11), [f"{tier}-{i}" for tier in ("gold", "bronze") for i in range(20)]
    world = World(*(constituent(name) for name in names), pool(cpu=20.0))
    wanted_ms, asked, cold = dict[str, int](), Counter[str](), Counter[str]()
    longest_ms = 0
    for now_ms in range(0, 2_400_000, 4_000):
        for name in names:
            turn = 4 / 300 if name in wanted_ms else 4 / 300 * 0.45 / 0.55
            if numbers.random() < turn and wanted_ms.pop(name, None) is None:
                wanted_ms[name] = now_ms
        world.hear(demand(now_ms, *((name, name.split("-")[0], 3.0) for name in wanted_ms)))
        ready = {i.service for i in world.instances.values() if i.warm_at(now_ms)}
        for name, since_ms in wanted_ms.items():
            if now_ms - since_ms > 15_000 and numbers.random() < 0.2:
                asked[name.split("-")[0]] += 1
                cold[name.split("-")[0]] += name not in ready
        row = world.state["p/p"]
        assert isinstance(row, PoolState)
        longest_ms = max([longest_ms, *(now_ms - q.since_ms for q in row.queue.values())])
    assert min(asked.values()) > 500
    assert cold["bronze"] > 10
    assert cold["gold"] / asked["gold"] <= cold["bronze"] / asked["bronze"] / 2
    assert longest_ms <= longest_wait_ms(gold=3.0, bronze=3.0) + world.allocator.config.hold_ms


@hypothesis_settings(max_examples=25)
@given(story=STORY)
def test_the_same_story_gives_the_same_commands(
    story: list[tuple[int, list[tuple[str, str, float]]]],
) -> None:
    def play() -> list[Command]:
        world = World(*(constituent(name) for name in "abcd"), pool(cpu=3.0))
        made, now_ms = list[Command](), 0
        for gap_ms, asked in story:
            now_ms += gap_ms
            made += world.hear(demand(now_ms, *asked))
        return made

    assert play() == play()


def test_what_is_used_often_comes_before_what_is_used_once() -> None:
    world = World(constituent("often"), constituent("a seldom one"), pool(cpu=1.0))
    world.hear(demand(1_000, ("a seldom one", "gold", 8.0), ("often", "gold", 60.0)))
    assert world.live() == {"often": 1}


def test_parts_that_save_time_only_together_are_started_together() -> None:
    twins = [constituent("left", warm_up_ms=9_000), constituent("right", warm_up_ms=9_000)]
    composite = Composite(service="draw", steps=(("left", "right"),))
    world = World(*twins, composite, pool())
    first, second = world.hear(demand(1_000, ("draw", "gold", 0.5)))
    assert (first.service, second.service) == ("left", "right")
    assert "together with right" in first.reason


def test_a_part_is_not_started_when_the_slower_one_beside_it_does_not_fit() -> None:
    parts = [constituent("slow", cpu=3, warm_up_ms=20_000), constituent("quick", warm_up_ms=9_000)]
    world = World(*parts, Composite(service="draw", steps=(("slow", "quick"),)), pool(cpu=2.0))
    made = world.hear(demand(1_000, ("draw", "gold", 0.5)))
    assert {c.action for c in made} == {Action.QUEUE}


def test_a_base_that_composites_share_is_started_for_their_joint_demand() -> None:
    composites = [Composite(service=f"draw {i}", steps=(("base",), (f"a{i}",))) for i in range(5)]
    adapters = [constituent(f"a{i}", warm_up_ms=100) for i in range(5)]
    world = World(constituent("base"), *adapters, *composites, pool())
    assert world.hear(demand(1_000, ("draw 0", "bronze", 0.08))) == []
    world.hear(demand(2_000, *((f"draw {i}", "bronze", 0.08) for i in range(5))))
    assert world.live() == {"base": 1}


def test_a_lower_tier_is_not_starved_beyond_the_bound() -> None:
    """Gold wants the only place all the time; bronze gets it within the bound, and keeps it."""
    world = World(constituent("gilt"), constituent("tin"), pool(cpu=1.0))
    asked = (("gilt", "gold", 0.5), ("tin", "bronze", 1.0))
    config = world.allocator.config
    holders: list[str] = []
    for now_ms in range(0, 10 * config.starve_ms, 1_000):
        world.hear(demand(now_ms, *asked))
        holders.append(",".join(world.live()))
    runs = [(name, len(list(run))) for name, run in groupby(holders)]
    assert {name for name, _ in runs} == {"gilt", "tin"}
    waits = [1_000 * seconds for name, seconds in runs if name == "gilt"]
    stays = [1_000 * seconds for name, seconds in runs[:-1] if name == "tin"]
    assert max(waits) <= longest_wait_ms(gold=0.5, bronze=1.0) + 1_000  # the next decision
    assert min(stays) >= config.hold_ms
