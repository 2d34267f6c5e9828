from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.avro import codec
from streams.engine.batch import RawRecord, cut
from streams.engine.steps import Steps
from streams.engine.store import PartitionStore
from streams.errors import StateUnreadable
from streams.records import DeadLetter, Feedback, Record, Request, Result
from streams.stages.base import Context, Unusable

State = tuple[int, bytes]


@dataclass
class Raw:
    offset: int
    value: bytes | None
    key: bytes | None = b"a"
    timestamp: int = 5


class Chain:
    """Chains what it sees, per user and over all; some services make it fail in its midst."""

    name = "profiler"

    def step(
        self, event: Record, state: MutableMapping[str, State], context: Context
    ) -> Iterable[Record]:
        assert isinstance(event, Request)
        for key in (f"u/{event.user}", "\x00all"):
            count, digest = state.get(key, (0, b""))
            digest = hashlib.blake2b(digest + event.request_id.encode(), digest_size=8).digest()
            state[key] = (count + 1, digest)
            if event.service == "unusable":
                raise Unusable("no such service")
            if event.service == "poison":
                raise RuntimeError("poison")
        yield Feedback(
            request_id=event.request_id, user=event.user, tier="", pool="", service="",
            at_ms=context.record_ms, result=Result.HIT, cold_ms=state["\x00all"][0], saved_ms=0,
            hit_rate=0.0, drift=False,
        )  # fmt: skip

    def tick(
        self, now_ms: int, state: MutableMapping[str, State], context: Context
    ) -> Iterable[Record]:
        del context
        state["\x00ticked"] = (now_ms, b"")
        if now_ms < 0:
            raise RuntimeError("before time")
        return ()

    def encode(self, value: State) -> bytes:
        return struct.pack(">q", value[0]) + value[1]

    def decode(self, data: bytes) -> State:
        return struct.unpack(">q", data[:8])[0], data[8:]


def request(number: int, user: str = "a", service: str = "s") -> bytes:
    return codec.encode(Request(request_id=f"r{number}", user=user, service=service, at_ms=number))


def nothing() -> PartitionStore[State]:
    """State without a row."""
    stage = Chain()
    return PartitionStore(stage.encode, stage.decode, 99)


def run(
    records: Iterable[RawRecord], state: PartitionStore[State], topic: str = "requests"
) -> list[Record]:
    steps = Steps(Chain(), codec)
    return [
        made
        for record in records
        for made in steps.take(topic, record, state, Context(3, record.timestamp))[1]
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["s", "poison", "bad"])), max_size=40
    ),
    st.lists(st.integers(0, 40), max_size=8),
    st.integers(1, 9),
)
def test_results_do_not_depend_on_how_the_stream_was_cut(
    events: Sequence[tuple[str, str]], saves: Sequence[int], most: int
) -> None:
    raw = [
        Raw(n, b"noise" if service == "bad" else request(n, user, service), user.encode())
        for n, (user, service) in enumerate(events)
    ]
    whole = nothing()
    outputs = run(raw, whole)
    state, log = nothing(), list[tuple[bytes, bytes | None]]()
    pieces: list[Record] = []
    for chunk in cut(raw, most, 200):
        pieces += run(chunk, state)
        if chunk[-1].offset in saves:  # saved, lost and rebuilt between two batches
            log += state.save()
            state = nothing()
            state.load(log)
    assert pieces == outputs
    assert dict(state) == dict(whole)


def test_a_poison_record_hurts_only_itself() -> None:
    state, clean = nothing(), nothing()
    made = run([Raw(0, request(0)), Raw(1, request(1, "a", "poison")), Raw(2, request(2))], state)
    run([Raw(0, request(0)), Raw(2, request(2))], clean)
    assert dict(state) == dict(clean)
    letters = [record for record in made if isinstance(record, DeadLetter)]
    assert [(letter.offset, letter.reason) for letter in letters] == [
        (1, "profiler failed: RuntimeError: poison")
    ]


@pytest.mark.parametrize("value", [b"", b"noise", None])
def test_what_cannot_be_decoded_becomes_a_dead_letter_whole(value: bytes | None) -> None:
    (letter,) = run([Raw(7, value, b"k")], nothing())
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.partition, letter.offset) == ("requests", 3, 7)
    assert (letter.key, letter.value, letter.at_ms) == (b"k", value, 5)
    assert letter.reason


def test_what_is_unusable_changes_nothing_and_keeps_its_reason() -> None:
    state = nothing()
    (letter,) = run([Raw(0, request(0, "a", "unusable"))], state)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "no such service"
    assert dict(state) == {}


def test_only_the_stage_that_reports_for_a_topic_reports() -> None:
    assert run([Raw(0, b"noise")], nothing(), topic="outcomes") == []


def test_a_tick_that_fails_changes_nothing() -> None:
    state = nothing()
    assert Steps(Chain(), codec).tick(-1, state, Context()) == ()
    assert dict(state) == {}
    Steps(Chain(), codec).tick(1, state, Context())
    assert dict(state) == {"\x00ticked": (1, b"")}


def unreadable(data: bytes) -> State:
    raise ValueError(data)


def test_state_that_cannot_be_read_is_no_record_s_fault() -> None:
    state = nothing()
    state.load([(b"u/a", b"bad")])
    state._decode = unreadable
    with pytest.raises(StateUnreadable):
        run([Raw(0, request(0))], state)


@given(st.lists(st.integers(0, 50)), st.integers(1, 7), st.integers(1, 120))
def test_chunks_are_bounded_and_lose_nothing(
    sizes: list[int], most_records: int, most_bytes: int
) -> None:
    records = [Raw(n, bytes(size), None) for n, size in enumerate(sizes)]
    chunks = list(cut(records, most_records, most_bytes))
    assert [record for chunk in chunks for record in chunk] == records
    for chunk in chunks:
        assert 1 <= len(chunk) <= most_records
        size = sum(len(record.value or b"") for record in chunk)
        assert size <= most_bytes or len(chunk) == 1
