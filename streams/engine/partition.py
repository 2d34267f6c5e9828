"""A partition that a worker owns: its state, the writer of its changelog, and unsaved batches."""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.engine.batch import RecordBatch
from streams.engine.producer import TransactionalWriter
from streams.engine.recovery import read_partition
from streams.engine.store import PartitionStore

__all__ = ["ChangelogConfig", "OwnedPartition"]

logger = logging.getLogger(__name__)

MOST_UNSAVED = 20  # batches' worth of records and bytes between two saves


@dataclass(frozen=True, slots=True)
class ChangelogConfig:
    """Where a stage's state is kept."""

    topic: str  # the changelog's name on the broker
    group: str  # consumer group: with the partition it names the writer
    client_config: Mapping[str, Any]
    producer_config: Mapping[str, Any]
    empty: Callable[[], PartitionStore[Any]]


@dataclass(slots=True, eq=False)
class OwnedPartition:
    """One partition of a stage, from its assignment to its revocation."""

    number: int
    generation: int  # of the consumer group
    store: PartitionStore[Any]
    writer: TransactionalWriter | None = None
    ready: bool = False  # its state is there, it may be fetched
    revoked: bool = False
    failures: int = 0  # in a row
    unsaved: deque[RecordBatch] = field(default_factory=deque)  # taken since the last save
    records: int = 0  # of the unsaved
    bytes: int = 0  # of the unsaved
    _behind: dict[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether there is something to save."""
        return bool(self.unsaved or self.store.journal or self.store.dirty)

    def full(self, most_records: int, most_bytes: int) -> bool:
        """Whether so much is unsaved that nothing is fetched before a save."""
        records, size = MOST_UNSAVED * most_records, MOST_UNSAVED * most_bytes
        return self.records >= records or self.bytes >= size

    def keep(self, batch: RecordBatch) -> None:
        """Keep a batch until its effects are saved."""
        self.unsaved.append(batch)
        self.records += len(batch.records)
        self.bytes += batch.size

    def take_back(self) -> list[RecordBatch]:
        """Remove and return the unsaved batches, to be processed again."""
        batches = list(self.unsaved)
        self.unsaved.clear()
        self.records = self.bytes = 0
        return batches

    def forget(self, settled: Mapping[str, int]) -> list[float]:
        """Forget the batches before these offsets; when each was fetched (monotonic)."""
        batches = self.take_back()
        for batch in batches:
            if batch.next_offset > settled.get(batch.topic, 0):
                self.keep(batch)
        left = {id(batch) for batch in self.unsaved}
        return [batch.fetched_s for batch in batches if id(batch) not in left]

    def lag(self, batch: RecordBatch) -> int:
        """Consumer lag after this batch, summed over the topics of this partition."""
        self._behind[batch.topic] = max(0, batch.end_offset - batch.next_offset)
        return sum(self._behind.values())

    def open(self, saved: ChangelogConfig) -> tuple[TransactionalWriter, PartitionStore[Any]]:
        """Fence the earlier owner and rebuild the state; blocks, and may run in a thread.

        The writer comes first: it fences, and what is read after that is final.
        """
        writer = TransactionalWriter(
            saved.producer_config, f"{saved.group}-{self.number}", saved.topic, self.number
        )
        store = saved.empty()
        chunks = read_partition(saved.client_config, saved.topic, self.number, lambda: self.revoked)
        for rows in chunks:
            store.load(rows)
        store.check()
        # Else the garbage collector walks through every user ever loaded, for half a second each
        # time; none of it is garbage, and what is dropped later is freed without it.
        gc.freeze()
        return writer, store
