"""A request that comes again is not learnt again."""

from __future__ import annotations

from typing import Any

import pytest
from former import before_phases
from hypothesis import given
from hypothesis import strategies as st

from streams.models.next_request.state_codec import decode, encode
from streams.models.next_request.user_profile import UserProfile
from streams.models.recent_requests import RecentRequests, digest_of
from streams.models.state_bytes import StateReader, StateWriter
from streams.records import Prediction, Request
from streams.stages.base import StepContext
from streams.stages.profiler import ProfilerStage

HOUR = 3_600_000
NOW = 1_800_000_000_000


def asked(n: int, *, user: str = "ann", request_id: str = "", at_ms: int | None = None) -> Request:
    return Request(
        request_id=request_id or f"r{n}",
        user=user,
        service="abcd"[n % 4],
        at_ms=n * 60_000 if at_ms is None else at_ms,
    )


def learnt(requests: list[Request], state: dict[str, Any]) -> list[int]:
    """The numbers of those that led to a prediction."""
    profiler = ProfilerStage()
    taken = [list(profiler.step(request, state, StepContext())) for request in requests]
    return [n for n, made in enumerate(taken) if made]


def rows(state: dict[str, Any]) -> dict[str, bytes]:
    return {key: encode(value) for key, value in state.items()}


def test_a_log_that_is_sent_twice_leaves_what_it_left_once() -> None:
    state: dict[str, Any] = {}
    log = [asked(n) for n in range(200)]
    assert learnt(log, state) == list(range(200))
    before = rows(state)
    assert learnt(log, state) == []
    assert rows(state) == before


@given(st.lists(st.integers(0, 40), max_size=150))
def test_no_request_is_taken_twice(numbers: list[int]) -> None:
    recent, latest_ms, taken = RecentRequests(), 0, []
    for n in numbers:
        if recent.take(digest_of(str(n), "a"), n * 1_000, latest_ms):
            taken.append(n)
            latest_ms = max(latest_ms, n * 1_000)
    assert len(taken) == len(set(taken))


def test_one_that_is_late_by_a_few_is_learnt() -> None:
    order = [n ^ 7 for n in range(64)]
    assert learnt([asked(n) for n in order], {}) == list(range(64))


def test_many_at_one_instant_are_learnt() -> None:
    assert len(learnt([asked(n, at_ms=5_000) for n in range(100)], {})) == 100


def test_the_id_of_one_user_takes_nothing_from_another() -> None:
    same = [asked(1, user=user, request_id="1") for user in ("ann", "bob", "cid")]
    assert learnt(same, {}) == [0, 1, 2]


def test_an_id_that_is_used_again_for_another_service_is_another_request() -> None:
    assert learnt([asked(n, request_id="1") for n in (0, 1, 4)], {}) == [0, 1]


def test_what_is_kept_of_requests_is_bounded() -> None:
    recent = RecentRequests()
    sizes = set()
    for n in range(1_000):
        assert recent.take(digest_of(str(n), "a"), n, max(0, n - 1))
        out = StateWriter()
        recent.write(out)
        sizes.add(len(out.data))
    assert max(sizes) < 150


def test_what_is_read_back_knows_the_same_requests() -> None:
    state: dict[str, Any] = {}
    log = [asked(n) for n in range(40)]
    learnt(log, state)
    again = {key: decode(data) for key, data in rows(state).items()}
    assert learnt(log, again) == []
    assert learnt([asked(40)], again) == [0]


def test_a_profile_of_before_learns_what_is_new_alone() -> None:
    state: dict[str, Any] = {}
    log = [asked(n) for n in range(40)]
    learnt(log, state)
    profile: UserProfile = state["u/ann"]
    since = StateWriter()  # what profiles have had at their end since then
    since.array(profile.drift)
    profile.recent.write(since)
    since.blob(b"")  # no network follows them
    none_waited = b"\x00"  # gradients
    version, _, *known = before_phases(profile)
    former = bytes((version, 1, *known))[: -len(since.data)] + none_waited
    assert learnt([*log[:-1], asked(40)], {**state, "u/ann": decode(former)}) == [39]


def test_hashes_that_are_cut_are_refused() -> None:
    out = StateWriter()
    out.blob(bytes(17))
    with pytest.raises(ValueError, match="17 bytes are no requests"):
        RecentRequests.read(StateReader(bytes(out.data)))


def test_a_clock_hours_ahead_freezes_neither_vector_nor_gaps_of_its_user() -> None:
    profiler, state = ProfilerStage(), dict[str, Any]()
    live = [asked(n, at_ms=NOW + n * 1_000) for n in range(4)]
    live.insert(2, asked(9, at_ms=NOW + 20 * HOUR))
    times = []
    for n, request in enumerate(live):
        (made,) = profiler.step(request, state, StepContext(record_ms=NOW + n * 1_000))
        assert isinstance(made, Prediction)
        times.append(made.made_ms)
    assert times == sorted(times)
    assert times[-1] <= NOW + 5_000
    assert state["u/ann"].last_ms <= NOW + 5_000


def test_a_clock_that_is_a_little_ahead_is_believed() -> None:
    request = asked(1, at_ms=NOW + 59_000)
    (made,) = ProfilerStage().step(request, {}, StepContext(record_ms=NOW))
    assert isinstance(made, Prediction)
    assert made.made_ms == NOW + 59_000
