"""From a raw record to its outputs: decode, step, undo what failed, and dead-letter it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import Any, Protocol

from streams.engine.batch import RawRecord
from streams.engine.store import PartitionStore
from streams.errors import StateUnreadable
from streams.flow.topology import TOPICS, key_of
from streams.records import DeadLetter, Record
from streams.stages.base import RecordUnusable, Stage, StepContext

__all__ = ["CodecProtocol", "Done", "StageSteps", "misplaced"]

logger = logging.getLogger(__name__)


class CodecProtocol(Protocol):
    """Records to bytes and back; `decode` raises ValueError, the reason its message."""

    def encode(self, record: Record) -> bytes:
        """The bytes of a record."""
        ...

    def decode(self, data: bytes) -> Record:
        """The record of these bytes."""
        ...


# What came of one record: done, dead (it cannot be used) or failed (the step did); what it made;
# and dead letters of records before it, should these fail when they are taken again.
Done = tuple[str, Sequence[Record], Sequence[Record]]
# What was taken in: a record of a topic, or the time of a tick; and what the step was told besides.
Entry = tuple[str, Any, StepContext]
TICK = ""  # in place of a topic


class StageSteps:
    """A stage's steps over raw records; the same record on the same state gives the same.

    A step that fails is undone: the state goes back to its last checkpoint, what was taken since
    is taken again without the record that failed, and a checkpoint is made. So nothing is paid
    while nothing fails, and no record is taken again on account of two others.

    Parameters
    ----------
    stage
        What is stepped.
    codec
        Reads the records.
    read
        Reads them instead, where they are no bytes.
    """

    def __init__(
        self, stage: Stage[Any], codec: CodecProtocol, read: Callable[[Any], Record] | None = None
    ) -> None:
        self._stage, self._step, self._tick = stage, stage.step, stage.tick
        self._read = read or (lambda record: codec.decode(record.value or b""))
        self._reports = {name: row.reported_by == stage.name for name, row in TOPICS.items()}

    def take(
        self, topic: str, record: RawRecord, state: PartitionStore[Any], context: StepContext
    ) -> Done:
        """Take a record of `topic` (without prefix) in; what goes wrong becomes a dead letter.

        Of a record that no stage can use only the stage that reports for the topic makes one.

        Raises
        ------
        StateUnreadable
            The state itself cannot be read: no record is to blame.
        """
        try:
            event = self._read(record)
        except ValueError as error:
            return self._refuse(str(error), topic, record, context)
        if reason := misplaced(event, topic, record.key):
            return self._refuse(reason, topic, record, context)
        try:
            records = tuple(self._step(event, state, context))
        except StateUnreadable:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a step raises becomes a record
            others = self._undo(state, lambda state: self._step(event, state, context))
            outcome, letters, _ = self._failed(error, topic, record, context)
            return outcome, letters, others
        state.evict()
        state.journal.append((topic, record, context))
        return "done", records, ()

    def tick(
        self, now_ms: int, state: PartitionStore[Any], context: StepContext
    ) -> Iterable[Record]:
        """Tell the stage the time; a tick that fails changes nothing and is logged."""
        try:
            records = tuple(self._tick(now_ms, state, context))
        except StateUnreadable:
            raise
        except Exception as error:  # noqa: BLE001  # logged there
            self._tick_failed(error)
            return self._undo(state, lambda state: self._tick(now_ms, state, context))
        state.evict()
        state.journal.append((TICK, now_ms, context))
        return records

    def checkpoint(self, state: PartitionStore[Any]) -> Sequence[Record]:
        """Make a checkpoint; dead letters of what left a value that cannot be encoded.

        Such a record is found and undone, so that none stops what others did from being saved.
        """
        try:
            state.checkpoint()
        except Exception:  # noqa: BLE001  # whoever did it is found below, and logged
            return self._retake_apart(state.restore(), state)
        return ()

    # ------------------------------------------------------------------- undo

    def _undo(
        self, state: PartitionStore[Any], step: Callable[[Any], Iterable[Record]]
    ) -> Sequence[Record]:
        """Undo a step that failed; dead letters of others, should they now fail as well."""
        if not _looks_at_state(step):
            return ()
        journal = state.restore()
        try:
            for entry in journal:
                self._retake(entry, state)
            state.checkpoint()
        except StateUnreadable:
            raise
        except Exception:  # noqa: BLE001  # whoever did it is found below, and logged
            state.restore()
            return self._retake_apart(journal, state)
        return ()

    def _retake_apart(
        self, journal: Iterable[Entry], state: PartitionStore[Any]
    ) -> Sequence[Record]:
        """Take each again with a checkpoint of its own; what fails is left out, with a letter."""
        letters: list[Record] = []
        for entry in journal:
            try:
                self._retake(entry, state)
                state.checkpoint()
            except StateUnreadable:
                raise
            except Exception as error:  # noqa: BLE001  # as in `take`
                state.restore()
                topic, taken, context = entry
                if topic == TICK:
                    self._tick_failed(error)
                else:
                    letters += self._failed(error, topic, taken, context)[1]
        return letters

    def _retake(self, entry: Entry, state: PartitionStore[Any]) -> None:
        """Take again what was done once; what it makes is on its way already."""
        topic, taken, context = entry
        if topic == TICK:
            deque(self._tick(taken, state, context), maxlen=0)
        else:
            deque(self._step(self._read(taken), state, context), maxlen=0)
        state.evict()

    # ------------------------------------------------------------------- what goes wrong

    def _failed(
        self, error: Exception, topic: str, record: RawRecord, context: StepContext
    ) -> Done:
        if isinstance(error, RecordUnusable):
            return self._refuse(str(error), topic, record, context)
        logger.error(
            "%s failed at %s[%d]@%d",
            self._stage.name, topic, context.partition, record.offset,
            exc_info=error, extra={"action": "step_failed"},
        )  # fmt: skip
        reason = f"{self._stage.name} failed: {type(error).__name__}: {error}"
        return "failed", [self._dead_letter(reason, topic, record, context)], ()

    def _tick_failed(self, error: Exception) -> None:
        logger.error(
            "%s failed at a tick", self._stage.name,
            exc_info=error, extra={"action": "tick_failed"},
        )  # fmt: skip

    def _refuse(self, reason: str, topic: str, record: RawRecord, context: StepContext) -> Done:
        if not self._reports.get(topic):
            return "dead", (), ()
        return "dead", [self._dead_letter(reason, topic, record, context)], ()

    def _dead_letter(
        self, reason: str, topic: str, record: RawRecord, context: StepContext
    ) -> DeadLetter:
        return DeadLetter(
            topic=topic,
            partition=context.partition,
            offset=record.offset,
            stage=self._stage.name,
            reason=reason,
            at_ms=record.timestamp,
            key=record.key,
            value=record.value,
        )


class StateLookedAt(BaseException):
    """A step wants its state; no `Exception`, so that no stage handles it."""


class NoState(MutableMapping[str, Any]):
    """Stands in for a state, to find out whether a step gets as far as looking at it."""

    def __getitem__(self, key: str) -> Any:
        raise StateLookedAt

    def __setitem__(self, key: str, value: Any) -> None:
        raise StateLookedAt

    def __delitem__(self, key: str) -> None:
        raise StateLookedAt

    def __iter__(self) -> Iterator[str]:
        raise StateLookedAt

    def __len__(self) -> int:
        raise StateLookedAt


def _looks_at_state(step: Callable[[Any], Iterable[Record]]) -> bool:
    """Whether a step that failed had come to its state; up to there it does the same again.

    Most records that fail are refused before that, many a second when a source goes bad: these
    have left nothing to undo.
    """
    try:
        deque(step(NoState()), maxlen=0)
    except StateLookedAt:
        return True
    except Exception:  # noqa: BLE001  # as it did before
        return False
    return True


def misplaced(event: Record, topic: str, key: bytes | None) -> str:
    """Why a record does not belong where it stands; empty when it does.

    Under another key it would be on another partition, away from its user's state.
    """
    wanted = TOPICS[topic].records
    if not isinstance(event, wanted):
        names = " or ".join(kind.__name__ for kind in wanted)
        return f"wrong schema: a {type(event).__name__} where a {names} belongs"
    own = key_of(event)
    if key == own:
        return ""
    return "missing key" if key is None else f"key {key[:64]!r} is not {own!r}"
