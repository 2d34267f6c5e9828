"""Fetches the records of partitions, in no group: which and from where on is its caller's word.

aiokafka, with which Faust keeps its group, fetches in Python: every record costs time of the
interpreter that the steps need, and what arrives waits for the next turn of its thread. librdkafka
fetches beside the interpreter, and ahead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from faust.types import TP

from streams.errors import BrokerUnreachable

__all__ = ["FetchedRecord", "RecordFetcher"]

logger = logging.getLogger(__name__)

CONFIG = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_uncommitted",  # as Faust 0.15.3 reads (aiokafka.py:571)
    "check.crcs": True,
    "fetch.wait.max.ms": 50,  # a partition that comes waits for the fetch that is out
    "fetch.queue.backoff.ms": 5,  # as does one that has been fetched far enough ahead
    "queued.max.messages.kbytes": 32 * 1024,
    "log_level": 2,  # what is wrong with a connection is heard, not logged twenty times a second
}
# No waiting mends it. Of what is broken librdkafka says so once, and goes on behind it.
HOPELESS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._BAD_MSG,  # noqa: SLF001  # its public name
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
}
MOST_QUEUED, MOST_BYTES = 10_000_000, 1_000_000_000  # that librdkafka takes


class FetchedRecord(NamedTuple):
    """A record as it was fetched; a tuple, since they are made by the million."""

    offset: int
    timestamp: int  # ms
    key: bytes | None
    value: bytes | None


class RecordFetcher:
    """Fetches ahead, of the partitions that were last asked for.

    Parameters
    ----------
    config
        Of librdkafka: servers, security, and the id of a group, which it wants but never joins.
    most_records, most_bytes
        Handed over at once, of all partitions; fetched at once, of each.
    """

    def __init__(self, config: Mapping[str, Any], most_records: int, most_bytes: int) -> None:
        self._most = max(1, most_records)
        own = {
            "queued.min.messages": min(2 * self._most, MOST_QUEUED),
            "max.partition.fetch.bytes": min(max(1, most_bytes), MOST_BYTES),
            "error_cb": self._hear,
        }
        self._heard: int | None = None  # the code of what was heard last
        self._consumer = Consumer({**config, **CONFIG, **own})
        self._open = True
        self._position: dict[TP, int] = {}  # offset of the record to hand over next
        self._flowing: set[TP] = set()  # of these librdkafka fetches, from there on
        self._waiter = ThreadPoolExecutor(1, "fetcher")
        self._first: asyncio.Future[Message | None] | None = None  # what the waiter waits for
        self._stale = False  # it began to wait before other partitions were asked for

    def seek(self, positions: Mapping[TP, int | None]) -> None:
        """Go on at these offsets, None: at the beginning; other partitions as they are."""
        self._follow(self._flowing - positions.keys())
        for tp, offset in positions.items():
            self._position[tp] = OFFSET_BEGINNING if offset is None else offset

    def forget(self) -> None:
        """Fetch nothing before the next `seek`."""
        self._follow(set())
        self._position.clear()

    async def fetch(self, tps: set[TP], timeout_s: float) -> dict[TP, list[FetchedRecord]]:
        """The next records of these partitions, as soon as there is one; none after `close`.

        Raises
        ------
        BrokerUnreachable
            They are not to be had.
        """
        self._follow(tps & self._position.keys())
        if not self._open:
            await asyncio.sleep(timeout_s)
            return {}
        messages = [] if self._first else self._consumer.consume(self._most, 0)
        if not messages:
            messages = await self._wait(timeout_s)
        found: dict[TP, list[FetchedRecord]] = {}
        for tp, records in _by_partition(messages):
            if tp in self._flowing:
                found.setdefault(tp, []).extend(records)
                self._position[tp] = records[-1].offset + 1
        return found

    def end(self, tp: TP) -> int:
        """The offset after the last record of a partition, as of the last fetch."""
        _, end = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
        return max(end, 0)

    async def close(self) -> None:
        """Let go of the connections."""
        self.forget()
        self._open = False
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._waiter, self._consumer.close)
        self._waiter.shutdown(wait=False)

    def _follow(self, wanted: set[TP]) -> None:
        gone, come = self._flowing - wanted, wanted - self._flowing
        if gone:
            self._consumer.incremental_unassign([TopicPartition(*tp) for tp in gone])
        if come:
            self._consumer.incremental_assign(
                [TopicPartition(*tp, self._position[tp]) for tp in come]
            )
        if gone or come:
            self._flowing, self._stale = wanted, self._first is not None

    async def _wait(self, timeout_s: float) -> list[Message]:
        """Wait for a record without polling, in a thread; it comes with what is behind it."""
        loop = asyncio.get_running_loop()
        # Who is cancelled leaves the record to the next one who waits: it is not fetched again.
        self._first = self._first or loop.run_in_executor(
            self._waiter, self._consumer.poll, timeout_s
        )
        first = await asyncio.shield(self._first)
        self._first, stale, self._stale = None, self._stale, False
        if stale:
            # The record may be from before a `seek`: all is fetched again from where it was.
            if first is not None and (error := first.error()):
                _heed(error)
            self._follow(set())
        if stale or first is None or not self._open:
            return []
        return [first, *self._consumer.consume(self._most - 1, 0)]

    def _hear(self, error: KafkaError) -> None:
        """What is wrong with a connection; it is tried again without an end."""
        if error.code() != self._heard:
            self._heard = error.code()
            logger.warning("Fetching: %s", error.str(), extra={"action": "fetch_failed"})


def _by_partition(messages: Iterable[Any]) -> Iterator[tuple[TP, list[FetchedRecord]]]:
    """Runs of one partition each; `Any`, since as they are typed all may be None."""
    for (topic, partition), run in groupby(messages, lambda m: (m.topic(), m.partition())):
        records = [
            FetchedRecord(m.offset(), m.timestamp()[1], m.key(), m.value())
            for m in run
            if (error := m.error()) is None or _heed(error)
        ]
        if records:
            yield TP(topic, partition), records


def _heed(error: KafkaError) -> bool:
    if error.code() in HOPELESS:
        raise BrokerUnreachable(f"Records cannot be fetched: {error.str()}")
    logger.warning("Fetching goes on after: %s", error.str(), extra={"action": "fetch_failed"})
    return False
