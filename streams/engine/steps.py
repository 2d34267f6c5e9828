"""From a raw record to what it causes: decode, step, and a record of whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from streams.engine.batch import RawRecord
from streams.errors import StateUnreadable
from streams.records import DeadLetter, Record
from streams.stages.base import Context, Stage, Unusable
from streams.topology import TOPICS, key_of

__all__ = ["Codec", "Done", "Draft", "Steps", "misplaced"]

logger = logging.getLogger(__name__)

S = TypeVar("S")


class Codec(Protocol):
    """Records to bytes and back; `decode` raises ValueError, the reason its message."""

    def encode(self, record: Record) -> bytes:
        """The bytes of a record."""
        ...

    def decode(self, data: bytes) -> Record:
        """The record of these bytes."""
        ...


class Done(NamedTuple):
    """What came of one record."""

    outcome: str  # done, dead (cannot be used) or failed (the step did)
    records: Sequence[Record]


class Draft(MutableMapping[str, S]):
    """Assignments of one step, kept back until it has succeeded.

    A step that fails leaves the state as it was, as far as it assigned values rather than
    changed them in place.
    """

    def __init__(self) -> None:
        self._base: MutableMapping[str, S] = {}
        self._changes: dict[str, S] = {}
        self._gone: set[str] = set()

    def begin(self, base: MutableMapping[str, S]) -> None:
        """Start from `base`, without changes."""
        self._base = base
        if self._changes or self._gone:
            self._changes, self._gone = {}, set()

    def commit(self) -> None:
        """Make the changes in the base."""
        base = self._base
        if self._gone:
            for key in self._gone:
                base.pop(key, None)
        for key, value in self._changes.items():
            base[key] = value

    def get(self, key: str, default: Any = None) -> Any:
        """As a mapping's; an absent key is common, so that it costs no exception."""
        if key in self._changes:
            return self._changes[key]
        return default if key in self._gone else self._base.get(key, default)

    def __getitem__(self, key: str) -> S:
        if key in self._changes:
            return self._changes[key]
        if key in self._gone:
            raise KeyError(key)
        return self._base[key]

    def __setitem__(self, key: str, value: S) -> None:
        self._gone.discard(key)
        self._changes[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._changes.pop(key, None)
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._changes or (key not in self._gone and key in self._base)

    def __iter__(self) -> Iterator[str]:
        yield from (key for key in self._base if key not in self._gone)
        yield from (key for key in self._changes if key not in self._base)

    def __len__(self) -> int:
        return sum(1 for _ in self)


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
        self._draft: Draft[Any] = Draft()
        self._reports = {name: row.reported_by == stage.name for name, row in TOPICS.items()}

    def take(
        self, topic: str, record: RawRecord, state: MutableMapping[str, Any], context: Context
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
        draft = self._draft
        draft.begin(state)
        try:
            records = tuple(self._step(event, draft, context))
        except Unusable as error:
            return self._refuse(str(error), topic, record, context)
        except StateUnreadable:
            raise
        except Exception as error:
            logger.exception(
                "%s failed at %s[%d]@%d",
                self._stage.name, topic, context.partition, record.offset,
                extra={"action": "step_failed"},
            )  # fmt: skip
            reason = f"{self._stage.name} failed: {type(error).__name__}: {error}"
            return Done("failed", [self._dead_letter(reason, topic, record, context)])
        draft.commit()
        return Done("done", records)

    def tick(
        self, now_ms: int, state: MutableMapping[str, Any], context: Context
    ) -> Iterable[Record]:
        """Tell the stage the time; a tick that fails changes nothing and is logged."""
        self._draft.begin(state)
        try:
            records = tuple(self._stage.tick(now_ms, self._draft, context))
        except StateUnreadable:
            raise
        except Exception:
            logger.exception(
                "%s failed at a tick", self._stage.name, extra={"action": "tick_failed"}
            )
            return ()
        self._draft.commit()
        return records

    def _refuse(self, reason: str, topic: str, record: RawRecord, context: Context) -> Done:
        if not self._reports.get(topic):
            return Done("dead", ())
        return Done("dead", [self._dead_letter(reason, topic, record, context)])

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
