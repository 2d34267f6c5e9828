from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river.drift.binary import HDDMA

from streams.records import Feedback, Outcome, Part, Result, Route
from streams.stages.base import StepContext
from streams.stages.feedback import FeedbackStage, MissDetector


def outcome(result: Result, *parts: Part, user: str = "ann") -> Outcome:
    return Outcome(
        request_id="r",
        user=user,
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


def learn(results: list[Result], state: dict[str, MissDetector] | None = None) -> list[Feedback]:
    stage, rows = FeedbackStage(), {} if state is None else state
    made = [f for result in results for f in stage.step(outcome(result), rows, StepContext())]
    return [f for f in made if isinstance(f, Feedback)]


def test_an_outcome_becomes_one_feedback_of_the_same_request() -> None:
    (feedback,) = learn([Result.PARTIAL])
    assert (feedback.user, feedback.tier, feedback.result) == ("ann", "gold", Result.PARTIAL)


def test_time_alone_changes_nothing() -> None:
    rows: dict[str, MissDetector] = {}
    learn([Result.MISS], rows)
    assert FeedbackStage().due(rows) is None


def test_hits_that_break_down_are_drift_and_steady_ones_are_not() -> None:
    steady = learn([Result.HIT] * 80)
    broken = learn([Result.HIT] * 40 + [Result.MISS] * 20)
    assert not any(f.drift for f in steady)
    assert sum(f.drift for f in broken) == 1
    assert not any(f.drift for f in broken[:42])


def test_hits_that_get_better_are_no_drift() -> None:
    assert not any(f.drift for f in learn([Result.MISS] * 40 + [Result.HIT] * 40))


def test_start_ups_that_were_waited_for_are_summed_by_constituent() -> None:
    parts = (
        Part(service="base", warm=False, warm_up_ms=300),
        Part(service="base", warm=False, warm_up_ms=400),
        Part(service="adapter", warm=True),
    )
    (made,) = FeedbackStage().step(outcome(Result.MISS, *parts), {}, StepContext())
    assert isinstance(made, Feedback)
    (measured,) = made.warm_ups
    assert (measured.service, measured.count, measured.total_ms) == ("base", 2, 700)
    assert measured.squares_ms2 == 250_000


@given(results=st.lists(st.sampled_from(Result), max_size=60), at=st.integers(0, 60))
def test_state_that_went_through_bytes_goes_on_as_before(results: list[Result], at: int) -> None:
    stage = FeedbackStage()
    plain: dict[str, MissDetector] = {}
    stored: dict[str, MissDetector] = {}
    for result in results[:at]:
        learn([result], plain)
        learn([result], stored)
        stored = {key: stage.decode(stage.encode(value)) for key, value in stored.items()}
    assert learn(results[at:], plain) == learn(results[at:], stored)


STRETCHES = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 150)), max_size=4)


@given(stretches=STRETCHES, numbers=st.randoms(use_true_random=False))
def test_drift_is_where_rivers_detector_finds_it(
    stretches: list[tuple[float, int]], numbers: Random
) -> None:
    rivers, ours = HDDMA(), MissDetector()
    for rate, length in stretches:
        for _ in range(length):
            miss = numbers.random() < rate
            rivers.update(miss)
            ours = ours.after(miss)
            assert ours.drift == rivers.drift_detected


def test_state_that_was_saved_with_a_hit_rate_is_read() -> None:
    results = [Result.HIT] * 3 + [Result.MISS] * 2 + [Result.HIT] * 37 + [Result.MISS] * 2
    saved = "01870c1926f5d1e93f2a000000000000001c8661188661a83f2c0000000000000048175d74d145b73f00"
    rows: dict[str, MissDetector] = {}
    learn(results, rows)
    assert FeedbackStage().decode(bytes.fromhex(saved)) == rows["u/ann"]


def test_a_users_state_is_small_and_its_version_is_checked() -> None:
    stage = FeedbackStage()
    data = stage.encode(MissDetector())
    assert len(data) < 50
    for bad in (b"", data[:-1], b"\x09" + data[1:]):
        with pytest.raises(ValueError, match="feedback state"):
            stage.decode(bad)


def test_users_do_not_share_state() -> None:
    rows: dict[str, MissDetector] = {}
    learn([Result.HIT] * 5, rows)
    list(FeedbackStage().step(outcome(Result.MISS, user="bob"), rows, StepContext()))
    assert (rows["u/ann"].mean, rows["u/bob"].mean) == (0.0, 1.0)
