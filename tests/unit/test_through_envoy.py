from __future__ import annotations

from streams.records import Part
from streams.request_path.gateway.through_envoy import merge_parts

COLD = Part(service="a", warm=False, instance_id="a-1", wait_ms=180, serve_ms=1, warm_up_ms=175)


def test_a_cold_constituent_served_for_the_time_that_was_not_waiting() -> None:
    assert merge_parts(None, COLD, 200) == Part(
        service="a", warm=False, instance_id="a-1", wait_ms=180, serve_ms=20, warm_up_ms=175
    )


def test_a_constituent_called_in_two_steps_served_for_both() -> None:
    first = merge_parts(None, COLD, 200)
    again = Part(service="a", warm=True, instance_id="a-1")

    assert merge_parts(first, again, 5).serve_ms == 25


def test_one_that_was_cold_in_its_first_step_stays_cold() -> None:
    again = merge_parts(COLD, Part(service="a", warm=True, instance_id="a-2"), 5)

    assert (again.warm, again.wait_ms, again.warm_up_ms) == (False, 180, 175)
    assert again.instance_id == "a-2"


def test_one_that_was_warm_in_its_first_step_stays_warm() -> None:
    assert merge_parts(Part(service="a", warm=True), COLD, 200).warm


def test_a_wait_longer_than_the_whole_call_leaves_no_time_to_serve() -> None:
    assert merge_parts(None, COLD, 100).serve_ms == 0
