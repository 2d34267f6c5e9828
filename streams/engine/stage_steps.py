"""From a raw record to its outputs: decode, check, step, pack; a failure becomes a dead letter."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from streams.engine.batch import RawRecord
from streams.engine.partition_store import PartitionStore
from streams.engine.partitioning import partition_of
from streams.engine.undo import TICK, JournalEntry, StepUndo
from streams.errors import StateUnreadable
from streams.flow.topology import TOPICS, key_of
from streams.records import DeadLetter, Record, Watermark
from streams.stages.base import NoRoom, RecordUnusable, Stage, StepContext, TickedByPart

__all__ = ["CodecProtocol", "StageSteps", "StepResult", "misplaced"]

logger = logging.getLogger(__name__)

Sent = TypeVar("Sent")  # an output, ready to be sent


class CodecProtocol(Protocol):
    """Records to bytes and back; `decode` raises ValueError, with the reason as its message."""

    def encode(self, record: Record) -> bytes:
        """The bytes of a record."""
        ...

    def decode(self, data: bytes) -> Record:
        """The record of these bytes."""
        ...


# The result of one record: done, dead (it cannot be used) or failed (the step did); its outputs;
# and dead letters of records before it, should these fail when they are processed again.
StepResult = tuple[str, Sequence[Sent], Sequence[Sent]]


class _Tick(NamedTuple):
    """A tick as it is journaled: all of it, or one part."""

    now_ms: int
    part: str = ""

    def of(self, stage: Stage[Any], state: Any, context: StepContext) -> Iterable[Record]:
        """Do it."""
        if self.part and isinstance(stage, TickedByPart):
            return stage.tick_part(self.part, self.now_ms, state, context)
        return stage.tick(self.now_ms, state, context)


class StageSteps(Generic[Sent]):
    """A stage's steps over raw records; the same record on the same state has the same result.

    A step that fails is undone (see `StepUndo`), so that the state is that of a run without it.
    One of which an output cannot be packed has failed.

    Parameters
    ----------
    stage
        Its `step` and `tick` are called.
    codec
        Decodes the records.
    pack
        Makes an output ready to be sent; raises for one that cannot be.
    read
        Decodes the records instead, where they are not bytes.
    partitions
        Of each topic, to refuse a record that is on another than its key's. 0 to refuse none.

    Attributes
    ----------
    letters
        Dead letters that were made since the start, by kind of reason.
    """

    def __init__(
        self,
        stage: Stage[Any],
        codec: CodecProtocol,
        pack: Callable[[Record], Sent],
        read: Callable[[Any], Record] | None = None,
        partitions: int = 0,
    ) -> None:
        self._stage, self._step = stage, stage.step
        self._pack, self._partitions = pack, partitions
        self._read = read or (lambda record: codec.decode(record.value or b""))
        self._full = set[int]()  # partitions of which was said that there is no room
        self._undo = StepUndo(self._again, self._failed_again)
        self.letters = Counter[str]()
        self._last_letter = ""  # its kind
        self._reports = {name: row.reported_by == stage.name for name, row in TOPICS.items()}

    def take(
        self, topic: str, record: RawRecord, state: PartitionStore[Any], context: StepContext
    ) -> StepResult[Sent]:
        """Process a record of `topic` (without prefix); one that fails becomes a dead letter.

        For a record that no stage can use, only the stage that reports for the topic makes one. A
        record without a value on a compacted topic deletes there, and says nothing to a stage.

        Raises
        ------
        StateUnreadable
            The state itself cannot be read: no record is to blame.
        """
        if record.value is None and TOPICS[topic].compacted:
            return "done", (), ()
        try:
            event = self._read(record)
        except ValueError as error:
            return self._refused("undecodable", str(error), topic, record, context)
        if reason := misplaced(event, topic, record.key, context.partition, self._partitions):
            return self._refused("misplaced", reason, topic, record, context)
        try:
            outputs = tuple(map(self._pack, self._step(event, state, context)))
        except StateUnreadable:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a step raises becomes a record
            others: Sequence[Record] = ()
            if not isinstance(error, NoRoom):
                others = self._undo.undo(state, lambda state: self._step(event, state, context))
            outcome, letters = self._failed(error, topic, record, context)
            return outcome, self._packed(letters), self._packed(others)
        state.evict()
        state.journal.append((topic, record, context))
        return "done", outputs, ()

    def take_again(
        self, topic: str, record: RawRecord, state: PartitionStore[Any], context: StepContext
    ) -> StepResult[Sent]:
        """Process the record again that was dead just now; what was made of that is not sent."""
        if self._reports.get(topic):
            self.letters[self._last_letter] -= 1
        return self.take(topic, record, state, context)

    def tick(
        self, now_ms: int, state: PartitionStore[Any], context: StepContext
    ) -> tuple[Sequence[Sent], int]:
        """Process a tick: its outputs, and how many parts of it have failed.

        What fails changes nothing and is logged. Where a stage has parts, the others are done.
        """
        outputs, error = self._tick_one(_Tick(now_ms), state, context)
        if error is None:
            return outputs, 0
        if not isinstance(self._stage, TickedByPart):
            self._tick_failed(error, _Tick(now_ms), context)
            return outputs, 1
        made, failed = list(outputs), 0
        for tick in [_Tick(now_ms, part) for part in self._stage.parts(context)]:
            outputs, error = self._tick_one(tick, state, context)
            made += outputs
            if error is not None:
                failed += 1
                self._tick_failed(error, tick, context)
        return made, failed

    def _tick_one(
        self, tick: _Tick, state: PartitionStore[Any], context: StepContext
    ) -> tuple[Sequence[Sent], Exception | None]:
        try:
            outputs = tuple(map(self._pack, tick.of(self._stage, state, context)))
        except StateUnreadable:
            raise
        except Exception as error:  # noqa: BLE001  # logged by the caller
            others = self._undo.undo(state, lambda state: tick.of(self._stage, state, context))
            return self._packed(others), error
        state.evict()
        state.journal.append((TICK, tick, context))
        return outputs, None

    def checkpoint(self, state: PartitionStore[Any]) -> Sequence[Sent]:
        """Make a checkpoint; dead letters of what left a value that cannot be encoded."""
        return self._packed(self._undo.checkpoint(state))

    def _packed(self, letters: Iterable[Record]) -> Sequence[Sent]:
        return tuple(map(self._pack, letters))

    def _again(self, entry: JournalEntry, state: PartitionStore[Any]) -> None:
        """Process an entry of the journal again; its outputs are on their way already."""
        topic, taken, context = entry
        if topic == TICK:
            deque(taken.of(self._stage, state, context), maxlen=0)
        else:
            deque(self._step(self._read(taken), state, context), maxlen=0)
        state.evict()

    # ------------------------------------------------------------------- what goes wrong

    def _refused(
        self, kind: str, reason: str, topic: str, record: RawRecord, context: StepContext
    ) -> StepResult[Sent]:
        outcome, letters = self._refuse(kind, reason, topic, record, context)
        return outcome, self._packed(letters), ()

    def _failed(
        self, error: Exception, topic: str, record: RawRecord, context: StepContext
    ) -> tuple[str, Sequence[Record]]:
        if isinstance(error, NoRoom):
            self._tell(error, context.partition)
        if isinstance(error, RecordUnusable):
            return self._refuse(error.kind, str(error), topic, record, context)
        logger.error(
            "%s failed at %s[%d]@%d",
            self._stage.name, topic, context.partition, record.offset,
            exc_info=error, extra={"action": "step_failed"},
        )  # fmt: skip
        reason = f"{self._stage.name} failed: {type(error).__name__}: {error}"
        return "failed", [self._dead_letter("failed", reason, topic, record, context)]

    def _tell(self, error: NoRoom, partition: int) -> None:
        """Say it, once a partition: the dead letters say it of each record."""
        if partition not in self._full:
            self._full.add(partition)
            logger.warning(
                "%s[%d]: %s", self._stage.name, partition, error, extra={"action": "no_room"}
            )

    def _failed_again(self, error: Exception, entry: JournalEntry) -> Sequence[Record]:
        topic, taken, context = entry
        if topic == TICK:
            self._tick_failed(error, taken, context)
            return ()
        return self._failed(error, topic, taken, context)[1]

    def _tick_failed(self, error: Exception, tick: _Tick, context: StepContext) -> None:
        logger.error(
            "%s[%d] failed at a tick%s: %s: %s",
            self._stage.name, context.partition, f" of {tick.part}" if tick.part else "",
            type(error).__name__, error, exc_info=error, extra={"action": "tick_failed"},
        )  # fmt: skip

    def _refuse(
        self, kind: str, reason: str, topic: str, record: RawRecord, context: StepContext
    ) -> tuple[str, Sequence[Record]]:
        if not self._reports.get(topic):
            return "dead", ()
        return "dead", [self._dead_letter(kind, reason, topic, record, context)]

    def _dead_letter(
        self, kind: str, reason: str, topic: str, record: RawRecord, context: StepContext
    ) -> DeadLetter:
        self.letters[kind] += 1
        self._last_letter = kind
        return DeadLetter.of(
            record.key,
            record.value,
            topic=topic,
            partition=context.partition,
            offset=record.offset,
            stage=self._stage.name,
            reason=reason,
            at_ms=record.timestamp,
        )


def misplaced(
    event: Record, topic: str, key: bytes | None, partition: int = 0, partitions: int = 0
) -> str:
    """Why a record does not belong on this topic under this key; empty when it does.

    Under another key it could be on another partition than its user's state, as it is when its
    producer has another partitioner. Of 0 partitions none is wrong, nor is any for a watermark.
    """
    wanted = TOPICS[topic].records
    if not isinstance(event, wanted):
        names = " or ".join(kind.__name__ for kind in wanted)
        return f"wrong schema: a {type(event).__name__} where a {names} belongs"
    own = key_of(event)
    if key != own:
        return "missing key" if key is None else f"key {key[:64]!r} is not {own!r}"
    if key is None or not partitions or isinstance(event, Watermark):
        return ""
    if (right := partition_of(key, partitions)) == partition:
        return ""
    return (
        f"key {key[:64]!r} belongs on partition {right}: its producer needs the partitioner murmur2,"
        " as Kafka's own clients have it (librdkafka: partitioner=murmur2_random)"
    )
