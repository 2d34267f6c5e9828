from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.joint import JointWorth
from streams.catalog.critical_path import cold_ms
from streams.records.catalog import Catalog, Composite, Constituent, Resources, Tier

NAMES = st.sampled_from("abcd")
STEPS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3)
WAITS = st.fixed_dictionaries({name: st.integers(0, 10_000) for name in "abcd"})
Steps = tuple[tuple[str, ...], ...]


class World:
    """One composite of four constituents, numbered in order of name, and requests for it."""

    def __init__(
        self,
        steps: Steps,
        waits: dict[str, int],
        warm: str = "",
        *,
        cost: Sequence[float] = (0.1, 0.1, 0.1, 0.1),
        requests: float = 1.0,
    ) -> None:
        constituents = [
            Constituent(service=name, needs=Resources(), warm_up_ms=ms, price=1.0)
            for name, ms in waits.items()
        ]
        gold = Tier(tier="gold", weight=1.0, sla_ms=0)
        composite = Composite(service="draw", steps=steps)
        self.anatomy = CatalogIndex(Catalog.of([*constituents, gold, composite]))
        asked = np.zeros((len(self.anatomy.services), len(self.anatomy.tiers)))
        asked[self.anatomy.services.index("draw"), self.anatomy.tiers.index(gold)] = requests
        flags = np.array([name in warm for name in sorted(waits)], np.bool_)
        costs = np.array(cost[: len(waits)])
        self.joint = JointWorth(self.anatomy, self.anatomy.warm_up_ms, asked, costs, flags)

    def numbers(self, names: str | set[str]) -> frozenset[int]:
        return frozenset(self.anatomy.number[name] for name in names)

    def gain(self, names: str | set[str]) -> float:
        return sum(self.joint.gain(self.numbers(names)))

    def loss(self, name: str) -> float:
        return float(self.joint.values.lost[self.anatomy.number[name]].sum())


def test_parts_of_a_step_that_take_equally_long_are_worth_something_only_together() -> None:
    world = World((("a", "b"),), {"a": 9_000, "b": 9_000})
    assert world.gain("a") == world.gain("b") == 0.0
    assert world.gain("ab") == 9.0
    assert world.joint.candidates() == [world.numbers("ab")]


def test_a_part_beside_one_that_is_warm_is_worth_its_whole_time() -> None:
    world = World((("slow", "quick"),), {"slow": 20_000, "quick": 1_000}, warm="slow")
    assert world.gain({"quick"}) == 1.0
    assert world.loss("slow") == 19.0
    world.joint.set(world.numbers({"quick"}), warm=True)
    assert world.loss("slow") == 20.0


def test_a_part_is_worth_what_all_requests_save() -> None:
    world = World((("a", "b"),), {"a": 4_000, "b": 2_000}, requests=3.0)
    assert world.gain("a") == 3.0 * 2.0
    assert world.gain("ab") == 3.0 * 4.0


@given(steps=STEPS.map(tuple), waits=WAITS, warm=st.sets(NAMES))
def test_layers_of_warm_parts_add_up_to_what_they_take_off_the_critical_path(
    steps: Steps, waits: dict[str, int], warm: set[str]
) -> None:
    at_worst = cold_ms(steps, waits.__getitem__)
    left = cold_ms(steps, lambda part: 0 if part in warm else waits[part])
    assert World(steps, waits).gain(warm) == pytest.approx((at_worst - left) / 1000)


@given(steps=STEPS.map(tuple), waits=WAITS)
def test_shares_add_up_to_the_critical_path(steps: Steps, waits: dict[str, int]) -> None:
    shares = World(steps, waits).joint.values.saved_ms
    assert shares.sum() == pytest.approx(cold_ms(steps, waits.__getitem__))
    assert (shares >= 0).all()


def test_the_faster_part_of_a_step_shares_only_its_own_time() -> None:
    world = World((("slow", "fast"),), {"slow": 10, "fast": 4})
    shares = world.joint.values.saved_ms.sum(axis=1)
    assert [shares[world.anatomy.number[name]] for name in ("slow", "fast")] == [8.0, 2.0]


@given(steps=STEPS.map(tuple), waits=WAITS, warm=st.sets(NAMES), part=NAMES)
def test_what_a_part_brings_is_what_its_loss_takes_away(
    steps: Steps, waits: dict[str, int], warm: set[str], part: str
) -> None:
    world = World(steps, waits, "".join(warm - {part}))
    gain = world.gain(part)
    world.joint.set(world.numbers(part), warm=True)
    assert world.loss(part) == pytest.approx(gain)


@given(
    steps=STEPS.map(tuple),
    waits=WAITS,
    warm=st.sets(NAMES),
    cost=st.lists(st.floats(0.1, 9.0), min_size=4, max_size=4),
)
def test_no_set_of_several_that_pays_is_left_out(
    steps: Steps, waits: dict[str, int], warm: set[str], cost: list[float]
) -> None:
    world = World(steps, waits, "".join(warm), cost=cost)
    sets = world.joint.missing(range(4))
    paying = [s for s in sets if sum(world.joint.gain(s)) > sum(cost[part] for part in s)]
    paying = [s for s in paying if len(s) > 1]
    assert set(paying) <= set(world.joint.candidates())


@given(steps=STEPS.map(tuple), waits=WAITS, warm=st.sets(NAMES))
def test_all_parts_at_once_are_each_what_one_brings_alone(
    steps: Steps, waits: dict[str, int], warm: set[str]
) -> None:
    world = World(steps, waits, "".join(warm))
    singles = world.joint.values.alone.sum(axis=1)
    for name, ms in waits.items():
        if name not in warm and ms:
            assert singles[world.anatomy.number[name]] == pytest.approx(world.gain(name))
