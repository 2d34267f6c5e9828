"""From a raw record to what it causes: decode, step, and a record of whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from streams.engine.batch import RawRecord
from streams.engine.store import PartitionStore
from streams.errors import StateUnreadable
from streams.flow.topology import TOPICS, key_of
from streams.records import DeadLetter, Record
from streams.stages.base import Context, Stage, Unusable

__all__ = ["Codec", "Done", "Steps", "misplaced"]

logger = logging.getLogger(__name__)


class Codec(Protocol):
    """Records to bytes and back; `decode` raises ValueError, the reason its message."""

    def encode(self, record: Record) -> bytes:
        """The bytes of a record."""
        ...

    def decode(self, data: bytes) -> Record:
        """The record of these bytes."""
        ...


# What came of one record: done, dead (it cannot be used) or failed (the step did); and what it made.
Done = tuple[str, Sequence[Record]]


class Steps:
    """A stage's steps over raw records; the same record on the same state gives the same.

    Parameters
    ----------
    stage
        What is stepped.
    codec
        Reads the records.
    """

    def __init__(self, stage: Stage[Any], codec: Codec) -> None:
        self._stage, self._step, self._decode = stage, stage.step, codec.decode
        self._reports = {name: row.reported_by == stage.name for name, row in TOPICS.items()}

    def take(
        self, topic: str, record: RawRecord, state: PartitionStore[Any], context: Context
    ) -> Done:
        """Take a record of `topic` (without prefix) in; what goes wrong becomes a dead letter.

        Of a record that no stage can use only the stage that reports for the topic makes one.

        Raises
        ------
        StateUnreadable
            The state itself cannot be read: no record is to blame.
        """
        try:
            event = self._decode(record.value or b"")
        except ValueError as error:
            return self._refuse(str(error), topic, record, context)
        if reason := misplaced(event, topic, record.key):
            return self._refuse(reason, topic, record, context)
        try:
            records = tuple(self._step(event, state, context))
        except Exception as error:  # noqa: BLE001  # whatever a step raises becomes a record
            state.rollback()
            return self._failed(error, topic, record, context)
        state.commit()
        return "done", records

    def _failed(self, error: Exception, topic: str, record: RawRecord, context: Context) -> Done:
        if isinstance(error, StateUnreadable):
            raise error
        if isinstance(error, Unusable):
            return self._refuse(str(error), topic, record, context)
        logger.error(
            "%s failed at %s[%d]@%d",
            self._stage.name, topic, context.partition, record.offset,
            exc_info=error, extra={"action": "step_failed"},
        )  # fmt: skip
        reason = f"{self._stage.name} failed: {type(error).__name__}: {error}"
        return "failed", [self._dead_letter(reason, topic, record, context)]

    def tick(self, now_ms: int, state: PartitionStore[Any], context: Context) -> Iterable[Record]:
        """Tell the stage the time; a tick that fails changes nothing and is logged."""
        try:
            records = tuple(self._stage.tick(now_ms, state, context))
        except StateUnreadable:
            raise
        except Exception:
            state.rollback()
            logger.exception(
                "%s failed at a tick", self._stage.name, extra={"action": "tick_failed"}
            )
            return ()
        state.commit()
        return records

    def _refuse(self, reason: str, topic: str, record: RawRecord, context: Context) -> Done:
        if not self._reports.get(topic):
            return "dead", ()
        return "dead", [self._dead_letter(reason, topic, record, context)]

    def _dead_letter(
        self, reason: str, topic: str, record: RawRecord, context: Context
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
