from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.changelog_rows import MOST_ROW_BYTES
from streams.engine.partition_store import POSITION, PartitionStore
from streams.errors import StateUnreadable
from streams.stages.feedback import FeedbackStage

Rows = list[tuple[bytes, bytes | None]]


def encode(value: int) -> bytes:
    return struct.pack(">q", value)


def decode(data: bytes) -> int:
    if len(data) != 8:
        raise ValueError("not eight bytes")
    value: int = struct.unpack(">q", data)[0]
    return value


def store(limit: int = 1_000, live: int = 1_000) -> PartitionStore[int]:
    return PartitionStore(encode, decode, limit, live)


def rebuilt(rows: Rows, limit: int = 1_000) -> PartitionStore[int]:
    """From a compacted changelog: of each key the last row, in its place."""
    last = {key: at for at, (key, _) in enumerate(rows)}
    made = store(limit)
    made.load(row for at, row in enumerate(rows) if last[row[0]] == at)
    return made


def test_a_store_is_a_mapping() -> None:
    state = store()
    state["u/a"] = 1
    state["u/b"] = 2
    del state["u/a"]
    assert dict(state) == {"u/b": 2}
    assert "u/a" not in state
    with pytest.raises(KeyError):
        state["u/a"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["set", "delete", "checkpoint", "restore", "save"]),
                  st.sampled_from(["\x00a", "u/b", "u/c"]), st.integers(0, 99)),
        max_size=30,
    )
)  # fmt: skip
def test_changes_last_from_a_checkpoint_on_and_are_undone_by_restore(
    changes: Sequence[tuple[str, str, int]],
) -> None:
    state, want = store(), dict[str, int]()
    lasting, log = dict[str, int](), Rows()
    for kind, key, value in changes:
        if kind == "set":
            state[key] = want[key] = value
        elif kind == "delete":
            assert state.pop(key, None) == want.pop(key, None)
        elif kind == "restore":
            state.restore()
            want = dict(lasting)
        else:
            log += state.save() if kind == "save" else []
            state.checkpoint()
            lasting = dict(want)
        assert dict(state) == want
        assert len(state) == len(want)
        assert (key in state) == (key in want)
        assert state.get(key, -1) == want.get(key, -1)
    state.restore()
    log += state.save()
    assert dict(rebuilt(log)) == lasting


def test_only_what_changed_is_saved_with_the_position() -> None:
    state = store()
    state["u/a"] = 1
    state.position["requests"] = 5
    assert [key for key, _ in state.save()] == [b"u/a", POSITION]
    assert state.save() == []
    assert state["u/a"] == 1
    assert state.save() == []


def test_a_rebuilt_store_has_rows_and_position_of_the_last_save() -> None:
    state = store()
    state["u/a"] = 1
    state["\x00all"] = 7
    state.position["requests"] = 5
    rows = state.save()
    state["u/a"] = 2  # never saved
    again = rebuilt(rows)
    assert dict(again) == {"u/a": 1, "\x00all": 7}
    assert again.position == {"requests": 5}


def test_the_longest_silent_users_are_forgotten_before_shared_rows() -> None:
    state = store(limit=3)
    state["\x00all"] = 0
    for number in range(4):
        state[f"u/{number}"] = number
        state.checkpoint()
    assert list(state) == ["\x00all", "u/2", "u/3"]
    assert dict(rebuilt(state.save())) == dict(state)


def test_a_forgotten_row_is_deleted_in_the_changelog_too() -> None:
    state = store(limit=1)
    state["u/a"] = 1
    state.save()
    state["u/b"] = 2
    assert dict(state.save())[b"u/a"] is None


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 99)), max_size=60),
    st.lists(st.integers(0, 60), max_size=6),
    st.integers(1, 6),
)
def test_eviction_does_not_depend_on_restarts(
    changes: Sequence[tuple[str, int]], restarts: Sequence[int], limit: int
) -> None:
    through, steady, log = store(limit), store(limit), Rows()
    for at, (user, value) in enumerate(changes):
        if at in restarts:
            log += through.save()
            through = rebuilt(log, limit)
        through[f"u/{user}"] = value
        through.evict()
        steady[f"u/{user}"] = value
        steady.evict()
    assert list(through.items()) == list(steady.items())


CHANGES = st.lists(
    st.tuples(st.sampled_from(["\x00a", "\x00b", "u/c", "u/d", "u/e", "u/f"]), st.integers(-9, 99)),
    max_size=25,
)


def change(state: PartitionStore[int], changes: Sequence[tuple[str, int]]) -> None:
    """Set these, or delete where the value is negative, each as a step of its own."""
    for key, value in changes:
        if value < 0:
            state.pop(key, None)
        else:
            state[key] = state.get(key, 0) + value
        state.evict()


@given(CHANGES, CHANGES, CHANGES, st.integers(1, 5))
def test_restore_brings_back_order_evicted_and_deleted_rows(
    before: Sequence[tuple[str, int]],
    undone: Sequence[tuple[str, int]],
    after: Sequence[tuple[str, int]],
    limit: int,
) -> None:
    state, clean = store(limit), store(limit)
    for one in (state, clean):
        change(one, before)
        one.checkpoint()
    change(state, undone)
    state.restore()
    assert list(state.items()) == list(clean.items())
    for one in (state, clean):
        change(one, after)
    assert list(state.items()) == list(clean.items())
    assert state.save() == clean.save()


@given(CHANGES, st.sets(st.integers(0, 25)), st.integers(1, 5))
def test_eviction_does_not_depend_on_checkpoints(
    changes: Sequence[tuple[str, int]], checkpoints: set[int], limit: int
) -> None:
    often, never = store(limit), store(limit)
    for at, one in enumerate(changes):
        if at in checkpoints:
            often.checkpoint()
        change(often, [one])
        change(never, [one])
    assert list(often.items()) == list(never.items())
    assert len(often) == len(list(often)) <= limit


def test_a_value_changed_in_place_and_not_assigned_is_restored() -> None:
    state: PartitionStore[bytearray] = PartitionStore(bytes, bytearray, 9)
    state["u/a"] = bytearray(b"before")
    state.checkpoint()
    state["u/a"][:] = b"after"
    state.restore()
    assert state["u/a"] == b"before"


def test_a_row_larger_than_the_changelog_takes_leaves_the_last_checkpoint_as_it_was() -> None:
    state = PartitionStore(bytes, bytes, 9)
    state["u/a"] = b"1"
    state.checkpoint()
    state["u/b"] = bytes(MOST_ROW_BYTES + 1)
    with pytest.raises(ValueError, match="the row of 'u/b' has 2097153 bytes"):
        state.checkpoint()
    state.restore()
    assert dict(state) == {"u/a": b"1"}


def test_a_value_that_cannot_be_encoded_leaves_the_last_checkpoint_as_it_was() -> None:
    state = store()
    state["u/a"] = 1
    state.checkpoint()
    state["u/a"], state["u/b"] = 2, 2**70
    with pytest.raises(struct.error):
        state.checkpoint()
    state.restore()
    assert dict(state) == {"u/a": 1}


def test_values_beyond_those_kept_decoded_are_read_again() -> None:
    state = store(live=2)
    for number in range(5):
        state[f"u/{number}"] = number
    state.save()
    assert [state[f"u/{number}"] for number in range(5)] == list(range(5))


def test_state_of_another_release_is_refused_by_name() -> None:
    state = store()
    state.load([(b"u/a", b"bad")])
    with pytest.raises(StateUnreadable, match="u/a"):
        state.check()
    with pytest.raises(StateUnreadable, match="form 2"):
        state.load([(POSITION, b'{"form": 2, "next": {}}')])


@pytest.mark.parametrize("row", [(POSITION, b"\xff"), (POSITION, b"[]"), (b"u/\xff", encode(1))])
def test_what_is_no_row_of_ours_is_refused_with_both_ways_out(row: tuple[bytes, bytes]) -> None:
    with pytest.raises(StateUnreadable, match=r"upgrade foremesh first, or .* --rebuild"):
        store().load([row])


def test_a_newest_row_of_another_release_is_refused_as_well() -> None:
    state = store()
    state.load([(b"u/a", encode(1)), (b"u/b", b"bad")])
    with pytest.raises(StateUnreadable, match="u/b"):
        state.check()


def test_rows_of_a_stage_that_keeps_nothing_any_more_pass_the_check() -> None:
    stage = FeedbackStage()
    state = PartitionStore(stage.encode, stage.decode, limit=10)
    state.load([(b"u/ann", b"a detector of an earlier release")])
    state.check()
    assert state.get("u/ann") is None


def test_a_topic_that_was_made_anew_is_begun_again() -> None:
    state, again = store(), store()
    state["u/a"] = 1
    state.position = {"requests": 400, "feedback": 7}
    assert state.adopt({"requests": "first", "feedback": "same"}) == []  # not known before
    again.load(state.save())
    assert again.adopt({"requests": "second", "feedback": "same"}) == ["requests"]
    assert again.position == {"requests": 0, "feedback": 7}
    assert dict(again) == {"u/a": 1}
