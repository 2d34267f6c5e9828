from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from streams.records import Outcome, Part, Request, Result, Route, Source
from streams.request_path.core.outcomes import outcome_of

STEPS = (("a", "b"), ("c",))
USUAL_MS = {"a": 1_000, "b": 400, "c": 300}
WARM = {name: Part(service=name, warm=True) for name in "abc"}
COLD = {name: Part(service=name, warm=False, wait_ms=ms) for name, ms in USUAL_MS.items()}


def outcome(parts: Mapping[str, Part] = WARM, status: int = 200) -> Outcome:
    request = Request(request_id="r", user="ann", service="s", at_ms=7, tier="gold", pool="p")
    return outcome_of(request, STEPS, {**WARM, **parts}, USUAL_MS, status=status, latency_ms=12.5)


def test_a_request_whose_parts_are_all_warm_is_a_hit_that_saved_the_critical_path() -> None:
    found = outcome()

    assert (found.result, found.route) == (Result.HIT, Route.PREALLOCATED)
    assert (found.cold_ms, found.saved_ms) == (0, 1_300)


def test_a_request_whose_parts_are_all_cold_is_a_miss_that_saved_nothing() -> None:
    found = outcome(COLD)

    assert (found.result, found.route) == (Result.MISS, Route.STANDARD)
    assert (found.cold_ms, found.saved_ms) == (1_300, 0)


def test_one_cold_part_makes_a_request_partial() -> None:
    found = outcome({"a": COLD["a"]})

    assert (found.result, found.route) == (Result.PARTIAL, Route.STANDARD)
    assert (found.cold_ms, found.saved_ms) == (1_000, 300)


def test_a_warm_part_beside_a_slower_cold_one_saves_nothing() -> None:
    assert outcome({"a": COLD["a"], "c": COLD["c"]}).saved_ms == 0


def test_a_cold_part_costs_what_its_request_waited_and_not_what_a_start_takes() -> None:
    joined = Part(service="a", warm=False, wait_ms=250)

    assert outcome({"a": joined}).cold_ms == 250


@pytest.mark.parametrize("parts", [WARM, COLD])
def test_a_request_answered_with_503_was_refused(parts: dict[str, Part]) -> None:
    assert outcome(parts, 503).route is Route.REFUSED


def test_an_instance_that_answers_with_503_has_been_asked() -> None:
    parts = {name: replace(part, instance_id="x") for name, part in WARM.items()}

    assert outcome(parts, 503).route is Route.PREALLOCATED


def test_an_outcome_repeats_its_request_and_lists_every_part() -> None:
    found = outcome(status=502)

    assert (found.request_id, found.user, found.service, found.at_ms) == ("r", "ann", "s", 7)
    assert (found.tier, found.pool, found.source) == ("gold", "p", Source.GATEWAY)
    assert (found.status, found.latency_ms) == (502, 12.5)
    assert [part.service for part in found.parts] == ["a", "b", "c"]
