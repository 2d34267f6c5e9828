"""The hazard of a user's next request, from silences worked by hand."""

from __future__ import annotations

import pytest

from streams.lab.models.silence import SilenceHazard, context_of, stage_of


def silences(lengths_ms: list[int], context: int = 0) -> SilenceHazard:
    """Silences within the first stage, one after another, each ended by a request."""
    silence, now_ms = SilenceHazard(), 0
    for length_ms in lengths_ms:
        silence.enter(context, 0, now_ms)
        silence.leave(context, 0, now_ms, now_ms + length_ms, asked=True)
        now_ms += length_ms
    return silence


def test_the_hazard_is_requests_by_time_spent_silent() -> None:
    """A thousand silences of 4 s: what was assumed beforehand no longer counts."""
    assert 1 / silences([4_000] * 1000).rate(0, 0, 10**9) == pytest.approx(4_000, rel=0.02)


def test_a_context_without_requests_has_the_hazard_of_all() -> None:
    silence = silences([4_000] * 1000)
    assert silence.rate(7, 0, 10**9) == pytest.approx(silence.rate(0, 0, 10**9), rel=0.02)


def test_a_silence_that_lasts_lowers_the_hazard_before_it_ends() -> None:
    silence = silences([4_000] * 10)
    before = silence.rate(0, 0, 40_000)
    silence.enter(0, 0, 40_000)
    assert silence.rate(0, 0, 340_000) < before / 2


def test_a_silence_that_leaves_a_stage_without_a_request_counts_as_time_alone() -> None:
    silence = silences([4_000] * 10)
    before = silence.rate(0, 0, 40_000)
    silence.enter(0, 0, 40_000)
    silence.leave(0, 0, 40_000, 55_000)
    assert silence.rate(0, 0, 55_000) < before


def test_an_age_falls_into_the_stage_that_begins_with_it() -> None:
    assert [stage_of(ms) for ms in (0, 14_999, 15_000, 10**12)] == [0, 0, 1, 30]


def test_contexts_tell_the_first_request_and_short_gaps_apart() -> None:
    assert len({context_of(0.5, gap) for gap in (None, 1_000, 60_000, 200_000, 10**6)}) == 5
