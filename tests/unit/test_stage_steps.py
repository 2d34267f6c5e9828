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
from streams.engine.partition_store import PartitionStore
from streams.engine.partitioning import partition_of
from streams.engine.stage_steps import StageSteps, misplaced
from streams.errors import StateUnreadable
from streams.records import DeadLetter, Feedback, Record, Request, Result, Watermark
from streams.stages.base import NoRoom, RecordUnusable, StepContext

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
        self, event: Record, state: MutableMapping[str, State], context: StepContext
    ) -> Iterable[Record]:
        assert isinstance(event, Request)
        if event.service == "crowded" and "no more" not in state:
            raise NoRoom(f"no room for {event.request_id}")
        for key in (f"u/{event.user}", "\x00all"):
            count, digest = state.get(key, (0, b""))
            digest = hashlib.blake2b(digest + event.request_id.encode(), digest_size=8).digest()
            state[key] = (count + 1, digest)
            if event.service == "unusable":
                raise RecordUnusable("no such service")
            if event.service == "poison":
                raise RuntimeError("poison")
        if event.service == "endless":
            state["\x00all"] = (2**63, b"")
        at_ms = 2**63 if event.service == "endless" else context.record_ms
        yield Feedback(
            request_id=event.request_id, user=event.user, tier=str(state["\x00all"][0]),
            pool="", service="", at_ms=at_ms, result=Result.HIT,
        )  # fmt: skip

    def tick(
        self, now_ms: int, state: MutableMapping[str, State], context: StepContext
    ) -> Iterable[Record]:
        del context
        state["\x00ticked"] = (now_ms, b"")
        if now_ms < 0:
            raise RuntimeError("before time")
        return ()

    def due(self, state: MutableMapping[str, State]) -> int | None:
        del state
        return None

    def encode(self, value: State) -> bytes:
        return struct.pack(">q", value[0]) + value[1]

    def decode(self, data: bytes) -> State:
        return struct.unpack(">q", data[:8])[0], data[8:]


def packed(record: Record) -> Record:
    """A record that can be sent."""
    codec.encode(record)
    return record


def request(number: int, user: str = "a", service: str = "s") -> bytes:
    return codec.encode(Request(request_id=f"r{number}", user=user, service=service, at_ms=number))


def nothing() -> PartitionStore[State]:
    """State without a row."""
    stage = Chain()
    return PartitionStore(stage.encode, stage.decode, 99)


def run(
    records: Iterable[RawRecord], state: PartitionStore[State], topic: str = "requests"
) -> list[Record]:
    steps = StageSteps(Chain(), codec, packed)
    return [
        made
        for record in records
        for made in steps.take(topic, record, state, StepContext(3, record.timestamp))[1]
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


def test_an_output_that_cannot_be_encoded_undoes_its_step_and_names_the_record() -> None:
    state, clean = nothing(), nothing()
    made = run([Raw(0, request(0)), Raw(1, request(1, "a", "endless"))], state)
    run([Raw(0, request(0))], clean)
    assert dict(state) == dict(clean)
    letter = made[-1]
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.partition, letter.offset) == ("requests", 3, 1)
    assert letter.reason.startswith("profiler failed: ValueError: 9223372036854775808 does not fit")


def test_a_tick_of_which_an_output_cannot_be_encoded_changes_nothing() -> None:
    class Ticking(Chain):
        def tick(
            self, now_ms: int, state: MutableMapping[str, State], context: StepContext
        ) -> Iterable[Record]:
            super().tick(now_ms, state, context)
            yield Request(request_id="r", user="a", service="s", at_ms=now_ms)

    state = nothing()
    steps = StageSteps(Ticking(), codec, packed)
    assert steps.tick(2**63, state, StepContext()) == ((), 1)
    assert dict(state) == {}


def test_what_there_is_no_room_for_is_a_dead_letter_each_and_said_once_a_partition(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = run([Raw(n, request(n, service="crowded")) for n in range(3)], nothing())
    assert [each.reason for each in made if isinstance(each, DeadLetter)] == [
        f"no room for r{n}" for n in range(3)
    ]
    assert [line.getMessage() for line in caplog.records] == ["profiler[3]: no room for r0"]


def test_what_there_is_no_room_for_has_nothing_before_it_done_again() -> None:
    taken: list[str] = []

    class Counting(Chain):
        def step(
            self, event: Record, state: MutableMapping[str, State], context: StepContext
        ) -> Iterable[Record]:
            assert isinstance(event, Request)
            taken.append(event.request_id)
            return super().step(event, state, context)

    steps, state = StageSteps(Counting(), codec, packed), nothing()
    for n, service in enumerate(["s", "crowded", "s", "crowded"]):
        steps.take("requests", Raw(n, request(n, service=service)), state, StepContext())

    assert taken == ["r0", "r1", "r2", "r3"]
    assert state["\x00all"][0] == 2


class Parted(Chain):
    """Ticks by part; some part fails in its midst."""

    def tick(
        self, now_ms: int, state: MutableMapping[str, State], context: StepContext
    ) -> Iterable[Record]:
        for part in self.parts(context):
            yield from self.tick_part(part, now_ms, state, context)

    def parts(self, context: StepContext) -> Iterable[str]:
        del context
        return ("first", "poison", "last")

    def tick_part(
        self, part: str, now_ms: int, state: MutableMapping[str, State], context: StepContext
    ) -> Iterable[Record]:
        del context
        state[part] = (now_ms, b"")
        if part == "poison":
            raise RuntimeError("no room")
        yield Request(request_id=part, user="a", service="s", at_ms=now_ms)


def test_of_a_tick_of_which_a_part_fails_the_others_are_done_and_that_one_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps, state = StageSteps(Parted(), codec, packed), nothing()
    steps.take("requests", Raw(0, request(0)), state, StepContext())
    for now_ms in (7, 8):  # the second after a checkpoint, which the first left
        made, failed = steps.tick(now_ms, state, StepContext(3))
        assert [each.request_id for each in made if isinstance(each, Request)] == ["first", "last"]
        assert failed == 1
    assert dict(state) == {**dict(through(nothing())), "first": (8, b""), "last": (8, b"")}
    assert {line.getMessage() for line in caplog.records} == {
        "profiler[3] failed at a tick of poison: RuntimeError: no room"
    }


def through(state: PartitionStore[State]) -> PartitionStore[State]:
    """The state after one request."""
    run([Raw(0, request(0))], state)
    return state


def test_a_record_on_another_partition_than_its_keys_is_a_dead_letter_that_says_why() -> None:
    steps, state = StageSteps(Chain(), codec, packed, partitions=4), nothing()
    taken = [
        steps.take("requests", Raw(0, request(0)), state, StepContext(partition))[:2]
        for partition in range(4)
    ]
    right = partition_of(b"a", 4)
    assert [outcome for outcome, _ in taken] == ["done" if p == right else "dead" for p in range(4)]
    (letter,) = taken[(right + 1) % 4][1]
    assert isinstance(letter, DeadLetter)
    assert f"belongs on partition {right}" in letter.reason
    assert "murmur2" in letter.reason
    assert state["u/a"][0] == 1


def test_a_watermark_belongs_on_every_partition() -> None:
    mark = Watermark(log="4f0c", source="log.csv", at_ms=1, number=1)
    assert {misplaced(mark, "requests", b"4f0c", partition, 4) for partition in range(4)} == {""}


def test_only_the_stage_that_reports_for_a_topic_reports() -> None:
    assert run([Raw(0, b"noise")], nothing(), topic="outcomes") == []


def test_a_tick_that_fails_changes_nothing() -> None:
    state = nothing()
    assert StageSteps(Chain(), codec, packed).tick(-1, state, StepContext()) == ((), 1)
    assert dict(state) == {}
    StageSteps(Chain(), codec, packed).tick(1, state, StepContext())
    assert dict(state) == {"\x00ticked": (1, b"")}


class Counted(Chain):
    """Counts its steps; cannot encode what some requests leave, and some fail the second time."""

    def __init__(self) -> None:
        self.steps = 0
        self.seen = set[str]()

    def step(
        self, event: Record, state: MutableMapping[str, State], context: StepContext
    ) -> Iterable[Record]:
        assert isinstance(event, Request)
        made = super().step(event, state, context)
        list(made)
        self.steps += 1
        if event.service == "unencodable":
            state["u/a"] = (2**70, b"")
        if event.service == "fickle" and event.request_id in self.seen:
            raise RuntimeError("once only")
        self.seen.add(event.request_id)
        return ()


def counted(
    records: Iterable[Raw],
) -> tuple[Counted, StageSteps[Record], PartitionStore[State], list[Record]]:
    """What came of these requests."""
    stage = Counted()
    steps, state, made = StageSteps(stage, codec, packed), nothing(), list[Record]()
    for record in records:
        _, own, others = steps.take("requests", record, state, StepContext())
        made += [*own, *others]
    return stage, steps, state, made


def for_services(*services: str) -> list[Raw]:
    return [Raw(n, request(n, "a", service)) for n, service in enumerate(services)]


@given(st.lists(st.sampled_from(["s", "poison"]), max_size=60))
def test_no_record_is_taken_again_more_than_once_however_many_fail(services: list[str]) -> None:
    all_ = for_services(*services)
    good = [record for record in all_ if services[record.offset] == "s"]
    stage, _, state, _ = counted(all_)
    assert stage.steps <= 2 * len(good)
    assert dict(state) == dict(counted(good)[2])


def test_a_record_that_is_refused_before_it_looks_at_the_state_undoes_nothing() -> None:
    state = nothing()
    run([Raw(0, request(0)), Raw(1, b"noise"), Raw(2, request(2), b"other")], state)
    assert len(state.journal) == 1


def test_what_cannot_be_encoded_is_found_at_the_checkpoint_and_left_out() -> None:
    _, steps, state, _ = counted(for_services("s", "unencodable", "s"))
    (letter,) = steps.checkpoint(state)
    assert isinstance(letter, DeadLetter)
    assert letter.offset == 1
    assert letter.reason.startswith("profiler failed: error: ")
    assert state["u/a"][0] == 2
    assert [key for key, _ in state.save()][:2] == [b"u/a", b"\x00all"]


def test_a_record_that_fails_only_when_it_is_taken_again_is_left_out_as_well() -> None:
    _, _, state, made = counted(for_services("s", "fickle", "s", "poison", "s"))
    assert [letter.offset for letter in made if isinstance(letter, DeadLetter)] == [3, 1]
    assert state["\x00all"][0] == 3


def test_a_tick_is_taken_again_with_the_records_around_it() -> None:
    steps, state = StageSteps(Chain(), codec, packed), nothing()
    for raw in (Raw(0, request(0)), Raw(1, request(1, "a", "poison"))):
        steps.tick(raw.offset + 1, state, StepContext())
        steps.take("requests", raw, state, StepContext())
    assert state["\x00ticked"] == (2, b"")
    assert list(state) == ["\x00all", "\x00ticked", "u/a"]


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


def test_a_deletion_on_a_compacted_topic_is_no_dead_letter() -> None:
    class Aggregating(Chain):
        name = "aggregator"

    steps, state = StageSteps(Aggregating(), codec, packed), nothing()

    taken = steps.take("predictions", Raw(0, None), state, StepContext(3, 5))

    assert taken == ("done", (), ())
    assert not state.journal
    assert steps.take("feedback", Raw(1, None), state, StepContext(3, 5))[0] == "dead"
