from __future__ import annotations

from streams.catalog.critical_path import cold_ms, steps_of
from streams.records.catalog import Catalog, Composite


def test_steps_add_up_and_the_slowest_part_of_a_step_counts() -> None:
    waits = {"base": 20_000, "adapter": 4_000, "upscale": 3_000}
    assert cold_ms((("base", "adapter"), ("upscale",)), waits.__getitem__) == 23_000


def test_a_part_used_again_is_warm_by_then() -> None:
    assert cold_ms((("a",), ("b",), ("a",)), {"a": 5, "b": 2}.__getitem__) == 7


def test_a_service_without_composite_is_its_own_part() -> None:
    catalog = Catalog.of([Composite(service="known", steps=(("x",),))])
    assert steps_of(catalog, "known") == (("x",),)
    assert steps_of(catalog, "other") == (("other",),)
