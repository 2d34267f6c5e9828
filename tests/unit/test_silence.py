"""The hazard of a user's next request, from silences worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models.arrival.silence import EDGES_MS, STAGES, SilenceHazard, context_of, stage_of


def silences(lengths_ms: list[int], context: int = 0) -> SilenceHazard:
    """Silences within the first stage, one after another, each ended by a request."""
    silence, now_ms = SilenceHazard(), 0
    for length_ms in lengths_ms:
        silence.enter(context, 0, 1, now_ms)
        silence.leave(context, 0, 1, now_ms, now_ms + length_ms, asked=1)
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
    silence.enter(0, 0, 1, 40_000)
    assert silence.rate(0, 0, 340_000) < before / 2


def test_a_silence_that_leaves_a_stage_without_a_request_counts_as_time_alone() -> None:
    silence = silences([4_000] * 10)
    before = silence.rate(0, 0, 40_000)
    silence.enter(0, 0, 1, 40_000)
    silence.leave(0, 0, 1, 40_000, 55_000)
    assert silence.rate(0, 0, 55_000) < before


def test_an_age_falls_into_the_stage_that_begins_with_it() -> None:
    assert [stage_of(ms) for ms in (0, 14_999, 15_000, 10**12)] == [0, 0, 1, 30]


def test_contexts_tell_the_first_request_and_short_gaps_apart() -> None:
    assert len({context_of(0.5, gap) for gap in (None, 1_000, 60_000, 200_000, 10**6)}) == 5


def test_contexts_tell_apart_how_soon_the_next_request_is_predicted() -> None:
    assert len({context_of(within, None) for within in (0.1, 0.2, 0.4, 0.5, 1.0)}) == 5


GROUPS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 10**9)), max_size=9)


@given(groups=GROUPS)
def test_users_counted_together_count_as_much_as_one_by_one(groups: list[tuple[int, int]]) -> None:
    single, together, left_ms = SilenceHazard(), SilenceHazard(), 10**9
    for users, since_ms in groups:
        together.enter(4, 3, users, since_ms)
        for _ in range(users):
            single.enter(4, 3, 1, since_ms)
            single.leave(4, 3, 1, since_ms, left_ms)
    everyone = sum(users for users, _ in groups)
    together.leave(4, 3, everyone, sum(users * since for users, since in groups), left_ms)
    assert single.cells.tobytes() == together.cells.tobytes()


def test_the_rate_before_an_age_is_the_highest_of_its_stages() -> None:
    silence = SilenceHazard()
    for stage, asked in ((0, 1), (1, 9), (2, 3)):
        silence.enter(0, stage, 1, 0)
        silence.leave(0, stage, 1, 0, 1_000_000, asked=asked)
    rates = [silence.rate(0, stage, 0) for stage in (0, 1, 2)]
    highest = [silence.rate(0, 0, 0, until_ms) for until_ms in (0, 14_999, 15_000, 30_000)]
    assert highest == [rates[0], rates[0], rates[1], rates[1]]
    assert silence.rate(0, 2, 0, 20_000) == rates[2]


def test_without_requests_the_hazard_is_lower_in_each_later_stage() -> None:
    silence = SilenceHazard()
    rates = [silence.rate(0, stage, 0) * EDGES_MS[stage + 1] for stage in range(STAGES - 1)]
    assert rates == pytest.approx([0.3] * (STAGES - 1))


def test_the_hazard_is_bounded_whatever_is_counted() -> None:
    assert silences([0] * 10**4).rate(0, 0, 0) == 2.0**-7


def test_a_context_has_a_hazard_of_its_own_once_it_has_requests() -> None:
    silence = silences([4_000] * 1000)
    silence.enter(7, 0, 100, 0)
    silence.leave(7, 0, 100, 0, 400_000, asked=2)
    assert silence.rate(7, 0, 10**9) < silence.rate(0, 0, 10**9) / 100


def test_hazards_survive_bytes_and_are_learnt_further() -> None:
    silence = silences([4_000] * 10)
    again = SilenceHazard.of(silence.cells.tobytes())
    for one in (silence, again):
        one.enter(0, 0, 1, 40_000)
    assert again.rate(0, 0, 50_000) == silence.rate(0, 0, 50_000)


def test_damaged_bytes_are_refused() -> None:
    for data in (b"", b"x", SilenceHazard().cells.tobytes()[32:]):
        with pytest.raises(ValueError, match=r"cells|multiple"):
            SilenceHazard.of(data)
