"""When a pool is decided on again though nothing comes."""

from __future__ import annotations

import pytest
from pools import World, constituent, demand, pool

from streams.allocator.config import AllocatorConfig
from streams.allocator.demanded import DemandedNumber
from streams.allocator.next_decision import next_decision_ms
from streams.allocator.state import PoolState, ProvisionUnderWay, QueuedWant, ReleaseUnderWay
from streams.records import Action
from streams.records.control import Control, Pin, Variant

HOUR_MS = 3_600_000
NOW = 1_700_006_400_000  # midnight
SETTLING = Control(pool="p", variants=(Variant(settle_ms=5_000),))


def next_of(*also: int, **changes: object) -> int:
    row = PoolState(now_ms=NOW)._replace(**changes)  # type: ignore[arg-type]
    return next_decision_ms(row, AllocatorConfig(starve_ms=60_000), *also)


@pytest.mark.parametrize(
    ("changes", "at_ms"),
    [
        ({}, 0),
        ({"starting": {"c1": ProvisionUnderWay("a", 1, NOW + 7)}}, NOW + 7),
        ({"releasing": {"c1": ReleaseUnderWay("a", 1, NOW + 8, ())}}, NOW + 8),
        ({"held": {"a": NOW + 9}}, NOW + 9),
        ({"below": {"a": NOW - 1_000}}, NOW + 4_000),
        ({"queue": {"a": QueuedWant("c1", NOW, NOW + 90_000)}}, NOW + 60_000),
        ({"queue": {"a": QueuedWant("c1", NOW, NOW + 10_000)}}, NOW + 10_000),
        ({"held": {"a": NOW}}, 0),  # what is over changes nothing more
    ],
)
def test_it_is_when_the_first_thing_ends_that_lasts_for_a_time(
    changes: dict[str, object], at_ms: int
) -> None:
    assert next_of(control=SETTLING, **changes) == at_ms


def test_of_further_times_the_first_counts_and_0_is_none() -> None:
    assert next_of(0, NOW + 5, NOW + 3) == NOW + 3


@pytest.mark.parametrize(("hour", "next_hour"), [(0, 8), (8, 18), (9, 18), (18, 32), (23, 32)])
def test_a_pin_begins_and_ends_at_its_minute(hour: int, next_hour: int) -> None:
    pin = Pin(service="a", least=1, from_minute=8 * 60, until_minute=18 * 60)
    found = next_of(now_ms=NOW + hour * HOUR_MS, control=Control(pool="p", pins=(pin,)))

    assert found == NOW + next_hour * HOUR_MS


def test_fewer_are_ready_a_decision_after_fewer_are_demanded() -> None:
    there = DemandedNumber(2, 2)
    less = there.then(1, NOW, 0)

    assert (there.falls, less.falls, less.then(1, NOW, 0).falls) == (False, True, False)


def test_what_no_longer_pays_is_released_in_time_though_nothing_comes() -> None:
    world = World(constituent("a"), pool())
    world.hear(SETTLING)
    world.hear(demand(1_000, ("a", "gold", 0.5)))
    assert world.hear(demand(20_000)) == []

    due_ms = world.allocator.due(world.state)

    assert due_ms == 25_000
    made = world.pass_time(due_ms)
    assert [(command.action, command.service) for command in made] == [(Action.RELEASE, "a")]
