"""Undoes steps that failed: restores the last checkpoint and replays the other records."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import Any

from streams.engine.partition_store import PartitionStore
from streams.errors import StateUnreadable
from streams.records import Record
from streams.stages.base import StepContext

__all__ = ["TICK", "JournalEntry", "StepUndo"]

# What was processed: a record of a topic, or the time of a tick; and the context of the step.
JournalEntry = tuple[str, Any, StepContext]
TICK = ""  # in place of a topic


class StepUndo:
    """Undoes failed steps on a store, by its journal.

    A failed step sends the state back to its last checkpoint; the journal is processed again from
    there, and a checkpoint is made. So nothing is paid while nothing fails, and an entry is
    processed again for one failure, not for each: once, and once more where one of them fails then.

    Parameters
    ----------
    again
        Processes an entry of the journal once more.
    failed
        Dead letters of an entry that raises.
    """

    def __init__(
        self,
        again: Callable[[JournalEntry, PartitionStore[Any]], None],
        failed: Callable[[Exception, JournalEntry], Sequence[Record]],
    ) -> None:
        self._again, self._failed = again, failed

    def undo(
        self, state: PartitionStore[Any], step: Callable[[Any], Iterable[Record]]
    ) -> Sequence[Record]:
        """Undo a step that failed; dead letters of earlier ones, should these now fail as well."""
        if not _looks_at_state(step):
            return ()
        journal = state.restore()
        try:
            for entry in journal:
                self._again(entry, state)
            state.checkpoint()
        except StateUnreadable:
            raise
        except Exception:  # noqa: BLE001  # the entry that raised is found below, and logged
            state.restore()
            return self._one_by_one(journal, state)
        return ()

    def checkpoint(self, state: PartitionStore[Any]) -> Sequence[Record]:
        """Make a checkpoint; dead letters of what left a value that cannot be encoded.

        Such a record is found and undone, so that none stops what others did from being saved.
        """
        try:
            state.checkpoint()
        except Exception:  # noqa: BLE001  # the entry to blame is found below, and logged
            return self._one_by_one(state.restore(), state)
        return ()

    def _one_by_one(
        self, journal: Iterable[JournalEntry], state: PartitionStore[Any]
    ) -> Sequence[Record]:
        """Process each again with a checkpoint of its own; one that fails is left out."""
        letters: list[Record] = []
        for entry in journal:
            try:
                self._again(entry, state)
                state.checkpoint()
            except StateUnreadable:
                raise
            except Exception as error:  # noqa: BLE001  # becomes a record
                state.restore()
                letters += self._failed(error, entry)
        return letters


class StateLookedAt(BaseException):
    """A step accesses its state; no `Exception`, so that no stage handles it."""


class NoState(MutableMapping[str, Any]):
    """Stands in for a state, to find out whether a step gets as far as accessing it."""

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
    """Whether a step that failed had accessed its state; up to there it does the same again.

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
