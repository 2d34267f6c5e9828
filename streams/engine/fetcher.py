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

__all__ = ["Fetched", "Fetcher"]

logger = logging.getLogger(__name__)

CONFIG = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_uncommitted",  # as Faust 0.15.3 reads (aiokafka.py:609)
    "fetch.wait.max.ms": 50,  # a partition that comes waits for the fetch that is out
    "fetch.queue.backoff.ms": 5,  # as does one that has been fetched far enough ahead
    "queued.max.messages.kbytes": 32 * 1024,
}
HOPELESS = {  # no waiting mends it
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001  # its public name
    KafkaError._FATAL,  # noqa: SLF001
}


class Fetched(NamedTuple):
    """A record as it was fetched; a tuple, since they are made by the million."""

    offset: int
    timestamp: int  # ms
    key: bytes | None
    value: bytes | None


class Fetcher:
    """Fetches ahead, of the partitions that were last asked for.

    Parameters
    ----------
    config
        Of librdkafka: servers, security, and the id of a group, which it wants but never joins.
    most_records, most_bytes
        Handed over at once, of all partitions; fetched at once, of each.
    """

    def __init__(self, config: Mapping[str, Any], most_records: int, most_bytes: int) -> None:
        own = {"queued.min.messages": 2 * most_records, "max.partition.fetch.bytes": most_bytes}
        self._consumer = Consumer({**config, **CONFIG, **own})
        self._most = most_records
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

    async def fetch(self, tps: set[TP], timeout_s: float) -> dict[TP, list[Fetched]]:
        """The next records of these partitions, as soon as there is one; after `seek`.

        Raises
        ------
        BrokerUnreachable
            They are not to be had.
        """
        self._follow(tps & self._position.keys())
        messages = [] if self._first else self._consumer.consume(self._most, 0)
        if not messages:
            messages = await self._wait(timeout_s)
        found: dict[TP, list[Fetched]] = {}
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
            self._follow(set())
            return []
        return [] if first is None else [first, *self._consumer.consume(self._most - 1, 0)]


def _by_partition(messages: Iterable[Any]) -> Iterator[tuple[TP, list[Fetched]]]:
    """Runs of one partition each; `Any`, since as they are typed all may be None."""
    for (topic, partition), run in groupby(messages, lambda m: (m.topic(), m.partition())):
        records = [
            Fetched(m.offset(), m.timestamp()[1], m.key(), m.value())
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
