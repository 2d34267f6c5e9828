from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.stages.critical_path import cold_ms
from streams.stages.joint import Joint, Parts, Worth, layers_of, slowest_first

GOLD = "gold"
NAMES = st.sampled_from("abcd")
STEPS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3)
WAITS = st.fixed_dictionaries({name: st.integers(0, 10_000) for name in "abcd"})


def layers(steps: tuple[tuple[str, ...], ...], waits: dict[str, int]) -> dict[Parts, Worth]:
    """Of one request that is sure to come first."""
    found: dict[Parts, Worth] = {}
    wait_ms = {p: float(ms) for p, ms in waits.items()}
    for parts, saved_ms in layers_of(slowest_first(steps, wait_ms), wait_ms, lambda _: 1.0):
        worth = found.setdefault(parts, {})
        worth[GOLD] = worth.get(GOLD, 0.0) + saved_ms / 1000
    return found


def test_parts_of_a_step_that_take_equally_long_are_worth_something_only_together() -> None:
    joint = Joint(layers((("a", "b"),), {"a": 9_000, "b": 9_000}), ())
    assert joint.gain(frozenset("a")) == joint.gain(frozenset("b")) == {}
    assert joint.gain(frozenset("ab")) == {GOLD: 9.0}
    assert joint.missing() == [frozenset("ab")]


def test_a_part_beside_one_that_is_warm_is_worth_its_whole_time() -> None:
    joint = Joint(layers((("slow", "quick"),), {"slow": 20_000, "quick": 1_000}), ["slow"])
    assert joint.gain(frozenset({"quick"})) == {GOLD: 1.0}
    assert joint.loss("slow") == {GOLD: 19.0}
    joint.add(["quick"])
    assert joint.loss("slow") == {GOLD: 20.0}


def test_several_cold_parts_are_no_likelier_than_the_least_likely() -> None:
    first = {"a": 0.5, "b": 0.1}
    found = dict(layers_of([["a", "b"]], {"a": 4_000.0, "b": 2_000.0}, first.__getitem__))
    assert found == {frozenset("a"): pytest.approx(1_000), frozenset("ab"): pytest.approx(200)}


@given(steps=STEPS.map(tuple), waits=WAITS, warm=st.sets(NAMES))
def test_layers_of_warm_parts_add_up_to_what_they_take_off_the_critical_path(
    steps: tuple[tuple[str, ...], ...], waits: dict[str, int], warm: set[str]
) -> None:
    value = sum(Joint(layers(steps, waits), ()).gain(frozenset(warm)).values())
    at_worst = cold_ms(steps, waits.__getitem__)
    left = cold_ms(steps, lambda part: 0 if part in warm else waits[part])
    assert value == pytest.approx((at_worst - left) / 1000)


@given(steps=STEPS.map(tuple), waits=WAITS, warm=st.sets(NAMES), part=NAMES)
def test_what_a_part_brings_is_what_its_loss_takes_away(
    steps: tuple[tuple[str, ...], ...], waits: dict[str, int], warm: set[str], part: str
) -> None:
    joint = Joint(layers(steps, waits), warm - {part})
    gain = joint.gain(frozenset({part}))
    joint.add([part])
    assert joint.loss(part) == gain
