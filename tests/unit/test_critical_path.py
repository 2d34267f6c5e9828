from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog import Catalog, Composite
from streams.stages.critical_path import cold_ms, shares, steps_of

NAMES = st.sampled_from("abcdef")
STEPS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4)
WAITS = st.fixed_dictionaries({name: st.integers(0, 10_000) for name in "abcdef"})


def test_steps_add_up_and_the_slowest_part_of_a_step_counts() -> None:
    waits = {"base": 20_000, "adapter": 4_000, "upscale": 3_000}
    assert cold_ms((("base", "adapter"), ("upscale",)), waits.__getitem__) == 23_000


def test_a_part_used_again_is_warm_by_then() -> None:
    assert cold_ms((("a",), ("b",), ("a",)), {"a": 5, "b": 2}.__getitem__) == 7


def test_the_faster_part_of_a_step_shares_only_its_own_time() -> None:
    found = shares((("slow", "fast"),), {"slow": 10, "fast": 4}.__getitem__)
    assert found == {"fast": 2.0, "slow": 8.0}


@given(steps=STEPS.map(tuple), waits=WAITS)
def test_shares_add_up_to_the_critical_path(
    steps: tuple[tuple[str, ...], ...], waits: dict[str, int]
) -> None:
    found = shares(steps, waits.__getitem__)
    assert sum(found.values()) == pytest.approx(cold_ms(steps, waits.__getitem__))
    assert all(share >= 0 for share in found.values())


def test_a_service_without_composite_is_its_own_part() -> None:
    catalog = Catalog.of([Composite(service="known", steps=(("x",),))])
    assert steps_of(catalog, "known") == (("x",),)
    assert steps_of(catalog, "other") == (("other",),)
