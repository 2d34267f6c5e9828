"""One partition that a worker owns: state, changelog writer, batches not yet checkpointed."""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.engine.batch import RecordBatch
from streams.engine.input_lag import InputLag
from streams.engine.partition_store import PartitionStore
from streams.engine.producer import TransactionalWriter
from streams.engine.read_first import ReadFirst
from streams.engine.recovery import read_partition

__all__ = ["ChangelogConfig", "OwnedPartition"]

logger = logging.getLogger(__name__)

MOST_UNSAVED = 20  # batches' worth of records between two checkpoints
MOST_UNSAVED_BYTES = 4  # the same of bytes: what is kept to be taken again is in memory


@dataclass(frozen=True, slots=True)
class ChangelogConfig:
    """Where a stage's state is kept."""

    topic: str  # the changelog's name on the broker
    group: str  # consumer group; with the partition it makes the transactional id
    client_config: Mapping[str, Any]
    producer_config: Mapping[str, Any]
    empty: Callable[[], PartitionStore[Any]]
    topics: Callable[[], Mapping[str, str]] = dict  # input topic -> its id now


@dataclass(slots=True, eq=False)
class OwnedPartition:
    """One partition of a stage, from its assignment to its revocation.

    Not ready means that its state is being rebuilt: its batches are kept, and processed then.
    """

    number: int
    generation: int  # of the consumer group
    store: PartitionStore[Any]
    writer: TransactionalWriter | None = None
    ready: bool = False
    revoked: bool = False
    failures: int = 0  # in a row
    lag: InputLag = field(default_factory=InputLag)
    first: ReadFirst = field(default_factory=ReadFirst)
    _unsaved: deque[RecordBatch] = field(default_factory=deque)  # since the last checkpoint
    _records: int = 0  # of the unsaved
    _bytes: int = 0  # of the unsaved

    @property
    def changed(self) -> bool:
        """Whether there is something to checkpoint."""
        return bool(self._unsaved or self.store.journal or self.store.dirty)

    def full(self, most_records: int, most_bytes: int) -> bool:
        """Whether so much is unsaved that nothing is fetched before the next checkpoint."""
        records, size = MOST_UNSAVED * most_records, MOST_UNSAVED_BYTES * most_bytes
        return self._records >= records or self._bytes >= size

    # ------------------------------------------------------------------- unsaved batches

    def keep(self, batch: RecordBatch) -> None:
        """Keep a batch until its effects are saved."""
        self._unsaved.append(batch)
        self._records += len(batch.records)
        self._bytes += batch.size

    def take_back(self) -> list[RecordBatch]:
        """Remove and return the unsaved batches, to be processed again."""
        batches = list(self._unsaved)
        self._unsaved.clear()
        self._records = self._bytes = 0
        return batches

    def drop_saved(self, committable: Mapping[str, int]) -> list[float]:
        """Drop the batches before these offsets, by topic; when each was fetched (monotonic)."""
        fetched = []
        for batch in self.take_back():
            if batch.next_offset > committable.get(batch.topic, 0):
                self.keep(batch)
            else:
                fetched.append(batch.fetched_s)
        return fetched

    # ------------------------------------------------------------------- life

    def open(
        self, saved: ChangelogConfig
    ) -> tuple[TransactionalWriter, PartitionStore[Any]] | None:
        """Fence the earlier owner and rebuild the state; blocks, and may run in a thread.

        The writer comes first: it fences, and what is read after that is final. None if the
        partition was revoked while this waited for a thread: it would fence the new owner.
        """
        if self.revoked:
            return None
        writer = TransactionalWriter(
            saved.producer_config, f"{saved.group}-{self.number}", saved.topic, self.number
        )
        store = saved.empty()
        chunks = read_partition(saved.client_config, saved.topic, self.number, lambda: self.revoked)
        for rows in chunks:
            store.load(rows)
        store.check()
        for name in store.adopt(saved.topics()):
            logger.warning(
                "Topic %s was deleted and made anew: partition %d is read from its beginning",
                name, self.number, extra={"action": "topic_made_anew"},
            )  # fmt: skip
        # Else the garbage collector walks through every user ever loaded, for half a second each
        # time; none of it is garbage, and what is dropped later is freed without it.
        gc.freeze()
        return writer, store

    def reset(
        self,
        writer: TransactionalWriter,
        store: PartitionStore[Any],
        committable: Mapping[str, int],
    ) -> None:
        """Replace the state by a rebuilt one; its position is no earlier than these offsets.

        Offsets may become committable without a changed row, and then are not in the changelog.
        Those in a topic that was made anew since are none of it.
        """
        for name, offset in committable.items():
            if store.topics.get(name) == self.store.topics.get(name):
                store.position[name] = max(store.position.get(name, 0), offset)
        self.writer, self.store = writer, store

    def resume(self) -> None:
        """Fetch and step it: its state is there."""
        self.ready = True

    def suspend(self) -> None:
        """Neither fetch, step nor checkpoint it before its state is rebuilt."""
        self.ready = False

    def revoke(self) -> None:
        """Another worker owns it from now on."""
        self.revoked, self.ready = True, False

    def count_failure(self) -> int:
        """Count one more failure; how many there are in a row."""
        self.failures += 1
        return self.failures
