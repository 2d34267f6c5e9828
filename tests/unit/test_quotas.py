from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pools import World, constituent, demand, pool

from streams.records import Action
from streams.records.catalog import Catalog, Tier
from streams.records.control import Control, Pin, Quota
from streams.records.verdicts import Choice
from streams.report.explanation import what_would_change


def bronze(quota: float) -> Tier:
    return Tier(tier="bronze", weight=0.01, sla_ms=5_000, quota=quota)


def test_a_tier_holds_no_more_of_a_pool_than_its_quota_and_is_told_so() -> None:
    world = World(*(constituent(name) for name in "abcd"), bronze(0.2), pool())
    asked = [(name, "bronze", 0.5) for name in "abc"]
    made = world.hear(demand(1_000, *asked, ("d", "gold", 0.5)))
    assert sum(world.live().values()) == 3
    assert "d" in world.live()
    (queued,) = [c for c in made if c.action is Action.QUEUE]
    assert "no quota left for it" in queued.reason
    (verdict,) = [v for v in world.verdicts if v.choice is Choice.QUEUE]
    assert (verdict.bound, verdict.tier) == ("quota", "bronze")
    assert next(what_would_change(verdict)).startswith("a higher quota of tier 'bronze'")


def test_what_a_tier_holds_beyond_a_lowered_quota_is_given_back() -> None:
    world = World(*(constituent(name) for name in "abc"), pool())
    asked = (("a", "bronze", 0.5), ("b", "bronze", 1.5), ("c", "gold", 0.5))
    world.hear(demand(1_000, *asked))
    assert world.live() == {"a": 1, "b": 1, "c": 1}
    world.catalog = Catalog.of([*world.catalog, bronze(0.1)])
    (command,) = world.hear(demand(20_000, *asked))
    assert (command.action, command.service) == (Action.RELEASE, "a")
    assert "tier 'bronze' is over its quota" in command.reason
    assert [v.bound for v in world.verdicts if v.choice is Choice.RELEASE] == ["quota"]
    world.hear(demand(40_000, *asked))
    assert world.live() == {"b": 1, "c": 1}


def test_what_a_tier_holds_beyond_a_lowered_budget_of_its_own_is_given_back() -> None:
    world = World(*(constituent(name) for name in "abc"), pool())
    asked = (("a", "bronze", 0.5), ("b", "bronze", 1.5), ("c", "gold", 0.5))
    world.hear(demand(1_000, *asked))
    world.hear(Control(pool="p", quotas=(Quota(tier="bronze", budget=1.0),)))
    (command,) = world.hear(demand(20_000, *asked))
    assert (command.action, command.service) == (Action.RELEASE, "a")
    assert "tier 'bronze' is over its quota" in command.reason
    assert world.live() == {"b": 1, "c": 1}


def test_a_pin_of_more_than_are_started_by_value_is_met() -> None:
    world = World(constituent("a"), pool(cpu=1_000.0))
    world.hear(Control(pool="p", pins=(Pin(service="a", least=100),)))
    world.hear(demand(1_000, ("a", "gold", 0.5)))
    assert world.live() == {"a": 100}


AMOUNT = st.floats(0.5, 5)


@given(
    story=st.lists(st.tuples(st.integers(0, 8_000), *[AMOUNT] * 4), min_size=1, max_size=10),
    quota=st.floats(0, 1),
)
def test_whatever_is_asked_no_tier_holds_more_than_its_quota(
    story: list[tuple[int, float, float, float, float]], quota: float
) -> None:
    parts = [constituent(name, cpu=1 + i % 3) for i, name in enumerate("abcd")]
    world = World(*parts, bronze(quota), pool(cpu=6.0))
    now_ms = 1_000
    for gap_ms, gold, *more in story:
        now_ms += gap_ms
        asked = [("a", "gold", gold), *zip("bcd", ["bronze"] * 3, more, strict=True)]
        world.hear(demand(now_ms, *asked))
        held = [c.needs.cpu for c in parts if c.service != "a" and c.service in world.live()]
        assert sum(held) <= quota * 6.0 + 1e-6
