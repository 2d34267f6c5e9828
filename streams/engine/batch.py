"""Batches of raw records, and what a transport asks of whoever processes them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from faust.types import TP

__all__ = ["BareEnd", "BatchOwner", "RawRecord", "RecordBatch", "cut", "size_of"]


class RawRecord(Protocol):
    """A record as fetched: bytes, not yet decoded."""

    @property
    def offset(self) -> int:
        """Its offset in its partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Its timestamp, in ms."""
        ...

    @property
    def key(self) -> bytes | None:
        """Its key, by which it was partitioned."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value; None deletes."""
        ...


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records of one partition, in order."""

    topic: str
    partition: int
    generation: int  # of the consumer group when they were fetched
    follows: int  # offset that was fetched: after the batch before, or the one that was sought
    records: Sequence[RawRecord]
    end_offset: int = 0  # high-water mark of the partition when they were fetched
    begin_offset: int = 0  # of the first record that the partition still had then
    fetched_s: float = field(default_factory=time.monotonic)

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.records[-1].offset + 1

    @property
    def size(self) -> int:
        """Bytes of all keys and values."""
        return sum(map(size_of, self.records))


class BareEnd(NamedTuple):
    """The end of a partition: from one offset to another there is no record."""

    after: int  # the last record
    until: int  # past what transactions leave behind it


class BatchOwner(Protocol):
    """Processes the batches, and so decides which offsets may be committed."""

    def ready(self, tps: set[TP]) -> set[TP]:
        """The subset of these partitions that may be fetched now."""
        ...

    def fetched(self, tp: TP, next_offset: int) -> None:
        """Records of a partition were fetched, the last one before this offset."""
        ...

    def reached(self, tp: TP, end: BareEnd, held_back: int = 0) -> None:
        """A partition was fetched to its end; so many records behind that may not be read yet."""
        ...

    def committable(self) -> Mapping[TP, int]:
        """Offset of each partition before which everything is delivered and saved."""
        ...

    async def checkpoint(self) -> None:
        """Deliver and save what was processed so far."""
        ...

    async def revoked(self, tps: set[TP]) -> None:
        """Give up ownership of these partitions."""
        ...

    def assigned(self, tps: set[TP], generation: int) -> None:
        """Take ownership of these partitions, in this generation of the consumer group."""
        ...


def size_of(record: RawRecord) -> int:
    """Bytes of key and value."""
    return len(record.key or b"") + len(record.value or b"")


def cut(
    records: Sequence[RawRecord], most_records: int, most_bytes: int
) -> Iterator[Sequence[RawRecord]]:
    """Split into chunks bounded by count and bytes, of at least one record each."""
    start = size = 0
    for at, record in enumerate(records):
        more = size_of(record)
        if at > start and (at - start >= most_records or size + more > most_bytes):
            yield records[start:at]
            start, size = at, 0
        size += more
    if records:
        yield records[start:]
