from __future__ import annotations

import pytest

from streams.records import Feedback, Outcome, Part, Result, Route
from streams.stages.base import StepContext
from streams.stages.feedback import FeedbackStage


def outcome(result: Result, *parts: Part) -> Outcome:
    return Outcome(
        request_id="r",
        user="ann",
        tier="gold",
        pool="default",
        service="draw",
        at_ms=7,
        result=result,
        route=Route.OBSERVED,
        status=0,
        latency_ms=0.0,
        cold_ms=1,
        saved_ms=2,
        parts=parts,
    )


def learn(result: Result, *parts: Part) -> Feedback:
    state: dict[str, None] = {}
    (made,) = FeedbackStage().step(outcome(result, *parts), state, StepContext())
    assert isinstance(made, Feedback)
    assert state == {}
    return made


def test_an_outcome_becomes_one_feedback_of_the_same_request() -> None:
    feedback = learn(Result.PARTIAL)
    assert (feedback.user, feedback.tier, feedback.result) == ("ann", "gold", Result.PARTIAL)


def test_time_alone_changes_nothing() -> None:
    assert FeedbackStage().due({}) is None


def test_start_ups_that_were_waited_for_are_summed_by_constituent() -> None:
    parts = (
        Part(service="base", warm=False, warm_up_ms=300),
        Part(service="base", warm=False, warm_up_ms=400),
        Part(service="adapter", warm=True),
    )
    (measured,) = learn(Result.MISS, *parts).warm_ups
    assert (measured.service, measured.count, measured.total_ms) == ("base", 2, 700)
    assert measured.squares_ms2 == 250_000


@pytest.mark.parametrize("version", ["01", "02"])
def test_a_detector_that_an_earlier_release_saved_is_refused_by_nobody(version: str) -> None:
    FeedbackStage().decode(bytes.fromhex(version + "870c1926f5d1e93f2a000000"))
