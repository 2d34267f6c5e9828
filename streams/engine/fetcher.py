"""Fetches records; the caller picks partitions and offsets, and no group is joined.

aiokafka, which Faust uses, fetches in Python: every record costs time with the GIL that the steps
need, and waits for its thread's next turn. librdkafka prefetches without the GIL.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from faust.types import TP

from streams.engine.batch import BareEnd
from streams.errors import BrokerUnreachable
from streams.tracing.traceparent import traceparent_of

__all__ = ["FetchedRecord", "FetchedRun", "RecordFetcher"]

logger = logging.getLogger(__name__)

CONFIG = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,  # the end of a partition may be a marker of a transaction
    "isolation.level": "read_committed",  # what a producer rolled back has never happened
    "check.crcs": True,
    "fetch.wait.max.ms": 50,  # a new partition waits for the fetch in flight
    "fetch.queue.backoff.ms": 5,  # pause of a partition whose prefetch queue is full
    "queued.max.messages.kbytes": 32 * 1024,
    "log_level": 2,  # errors arrive by callback; librdkafka logs them twenty times a second
}
# Retrying does not help. librdkafka reports a corrupt record once, and skips it.
FATAL = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._BAD_MSG,  # noqa: SLF001  # its public name
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
}
END = KafkaError._PARTITION_EOF  # noqa: SLF001  # its public name
MOST_QUEUED, MOST_BYTES = 10_000_000, 1_000_000_000  # limits of librdkafka


class FetchedRecord(NamedTuple):
    """A record as fetched; a tuple, since there are millions of them."""

    offset: int
    timestamp: int  # ms
    key: bytes | None
    value: bytes | None


class TracedRecord(NamedTuple):
    """The same with the header that carries a trace."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    traceparent: bytes  # empty where there is none


class FetchedRun(NamedTuple):
    """Records of one partition, in order."""

    follows: int  # offset that was fetched: of the first record, or of a gap in the log before it
    records: list[FetchedRecord]


class RecordFetcher:
    """Prefetches the partitions of the last call of `fetch`.

    Parameters
    ----------
    config
        Of librdkafka: servers, security, and a group id, which is required but never joined.
    most_records, most_bytes
        Most records that a call returns; most bytes per fetch of a partition.
    traced
        Return `TracedRecord`, which costs a look at the headers of each record.
    """

    def __init__(
        self, config: Mapping[str, Any], most_records: int, most_bytes: int, *, traced: bool = False
    ) -> None:
        self._records = _traced if traced else _plain
        self._most = max(1, most_records)
        own = {
            "queued.min.messages": min(2 * self._most, MOST_QUEUED),
            "max.partition.fetch.bytes": min(max(1, most_bytes), MOST_BYTES),
            "error_cb": self._on_error,
        }
        self._last_error: int | None = None  # code
        self._consumer = Consumer({**config, **CONFIG, **own})
        self._open = True
        self._position: dict[TP, int] = {}  # offset of the next record to return
        self._reached: list[tuple[TP, int]] = []  # ends of partitions, since the last call
        # The last of them, unless another offset was sought since.
        self._ended: dict[TP, BareEnd] = {}
        self._flowing: set[TP] = set()  # assigned to the consumer
        self._waiter = ThreadPoolExecutor(1, "fetcher")
        self._first: asyncio.Future[Message | None] | None = None  # result of its poll
        self._stale = False  # that poll began before the assignment changed

    def seek(self, positions: Mapping[TP, int | None]) -> None:
        """Fetch from these offsets on (None: the beginning); other partitions stay as they are."""
        self._assign(self._flowing - positions.keys())
        for tp, offset in positions.items():
            self._ended.pop(tp, None)
            self._position[tp] = OFFSET_BEGINNING if offset is None else offset

    def forget(self) -> None:
        """Fetch nothing before the next `seek`."""
        self._assign(set())
        self._position.clear()
        self._ended.clear()

    async def fetch(self, tps: set[TP], timeout_s: float) -> dict[TP, FetchedRun]:
        """The next records of these partitions, as soon as there are any; none after `close`.

        Raises
        ------
        BrokerUnreachable
            They cannot be fetched, and retrying does not help.
        """
        self._assign(tps & self._position.keys())
        if not self._open:
            await asyncio.sleep(timeout_s)
            return {}
        messages = [] if self._first else self._consumer.consume(self._most, 0)
        if not messages:
            messages = await self._wait(timeout_s)
        found: dict[TP, FetchedRun] = {}
        for place, messages_of in groupby(messages, _place):
            tp, records = TP(*place), self._records(messages_of, self._is_record)
            if records and tp in self._flowing:
                # A log that was made anew is fetched from its beginning, before the position.
                follows = min(max(self._position[tp], 0), records[0].offset)
                run = found.setdefault(tp, FetchedRun(follows, []))
                run.records.extend(records)
                self._position[tp] = records[-1].offset + 1
        return found

    def take_ends(self) -> dict[TP, BareEnd]:
        """The partitions of which a `fetch` reached the end since the last call."""
        reached, self._reached = self._reached, []
        ends = {
            tp: BareEnd(position if (position := self._position[tp]) >= 0 else end, end)
            for tp, end in reached
            if tp in self._flowing and self._position[tp] <= end
        }
        self._ended |= ends
        return ends

    def held_back(self) -> dict[TP, tuple[BareEnd, int]]:
        """Partitions with records behind the end that was reached, and how many, as of now."""
        return {
            tp: (end, self.end(tp) - end.until)
            for tp, end in self._ended.items()
            if tp in self._flowing and self._position[tp] <= end.until < self.end(tp)
        }

    def end(self, tp: TP) -> int:
        """High-water mark of a partition, as of the last fetch."""
        _, end = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
        return max(end, 0)

    def begin(self, tp: TP) -> int:
        """Offset of the first record that a partition still had, as of the last fetch."""
        begin, _ = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
        return max(begin, 0)

    async def close(self) -> None:
        """Close the connections."""
        self.forget()
        self._open = False
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._waiter, self._consumer.close)
        self._waiter.shutdown(wait=False)

    def _assign(self, wanted: set[TP]) -> None:
        gone, come = self._flowing - wanted, wanted - self._flowing
        if gone:
            self._reached = [(tp, end) for tp, end in self._reached if tp not in gone]
            self._consumer.incremental_unassign([TopicPartition(*tp) for tp in gone])
        if come:
            self._consumer.incremental_assign(
                [TopicPartition(*tp, self._position[tp]) for tp in come]
            )
        if gone or come:
            self._flowing, self._stale = wanted, self._first is not None

    async def _wait(self, timeout_s: float) -> list[Message]:
        """Block for a record in a thread; returns it with those queued behind it."""
        loop = asyncio.get_running_loop()
        # A cancelled caller leaves the record to the next one: it is not fetched again.
        self._first = self._first or loop.run_in_executor(self._waiter, self._poll, timeout_s)
        first = await asyncio.shield(self._first)
        self._first, stale, self._stale = None, self._stale, False
        if stale:
            # The record may be from before a `seek`: fetch again from the positions.
            if first is not None and (error := first.error()):
                self._is_record(first, error)
            self._assign(set())
        if stale or first is None or not self._open:
            return []
        return [first, *self._consumer.consume(self._most - 1, 0)]

    def _poll(self, timeout_s: float) -> Message | None:
        """Block for a record, past the ends of partitions."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._consumer.poll(max(0.0, deadline - time.monotonic()))
            if message is None or not (error := message.error()) or error.code() != END:
                return message
            self._is_record(message, error)

    def _is_record(self, message: Any, error: KafkaError) -> bool:
        """False: ends are kept, and other errors told."""
        if error.code() == END:
            self._reached.append((TP(message.topic(), message.partition()), message.offset()))
            return False
        if error.code() in FATAL:
            raise BrokerUnreachable(f"Records cannot be fetched: {error.str()}")
        logger.warning(
            "Fetching continues after an error: %s", error.str(), extra={"action": "fetch_failed"}
        )
        return False

    def _on_error(self, error: KafkaError) -> None:
        """Log an error of a connection, which librdkafka retries for ever."""
        if error.code() != self._last_error:
            self._last_error = error.code()
            logger.warning(
                "Fetching fails and is retried: %s", error.str(), extra={"action": "fetch_failed"}
            )


def _place(message: Any) -> tuple[str, int]:
    return message.topic(), message.partition()


def _plain(run: Iterable[Any], is_record: Callable[[Any, KafkaError], bool]) -> list[Any]:
    """The records among these messages; `Any`, since by its type every field may be None."""
    return [
        FetchedRecord(m.offset(), m.timestamp()[1], m.key(), m.value())
        for m in run
        if (error := m.error()) is None or is_record(m, error)
    ]


def _traced(run: Iterable[Any], is_record: Callable[[Any, KafkaError], bool]) -> list[Any]:
    return [
        TracedRecord(m.offset(), m.timestamp()[1], m.key(), m.value(), traceparent_of(m.headers()))
        for m in run
        if (error := m.error()) is None or is_record(m, error)
    ]
