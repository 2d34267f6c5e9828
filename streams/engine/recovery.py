"""Reads a partition of a compacted topic from start to end, to rebuild state from it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from streams.broker.refusal import check_rights
from streams.errors import BrokerUnreachable, StateUnreadable
from streams.flow.components import READER_GROUP

__all__ = ["READER", "Rows", "read_partition"]

logger = logging.getLogger(__name__)

READER = {
    "group.id": READER_GROUP,
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "queued.min.messages": 200_000,
}
CHUNK = 2_000
STALLED_S = 30.0
REPORT_S = 5.0

Rows = list[tuple[bytes, bytes | None]]


def read_partition(
    config: Mapping[str, Any], topic: str, partition: int, stopped: Callable[[], bool]
) -> Iterator[Rows]:
    """The committed records of a partition up to its current end, in chunks.

    Raises
    ------
    BrokerUnreachable, StateUnreadable, RightsMissing
        Nothing arrived for half a minute; the topic does not exist, or not for this user.
    """
    # The end is reported by an empty fetch, which therefore must not wait for records.
    consumer = Consumer({**config, **READER, "fetch.wait.max.ms": 10})
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        yield from _until_end(consumer, f"{topic}[{partition}]", stopped)
    finally:
        consumer.close()


def _until_end(consumer: Consumer, name: str, stopped: Callable[[], bool]) -> Iterator[Rows]:
    started = progressed = reported = time.monotonic()
    count = 0
    while not stopped():
        messages = consumer.consume(CHUNK, 0.05)
        now = time.monotonic()
        errors = [error for m in messages if (error := m.error())]
        records = [m for m in messages if m.error() is None] if errors else messages
        count += len(records)
        yield [(m.key() or b"", m.value()) for m in records]
        if any(_is_end(error, name) for error in errors):
            logger.log(
                logging.INFO if count else logging.DEBUG,
                "State of %s rebuilt: %d rows, %.0f a second",
                name, count, count / max(now - started, 1e-3),
                extra={"action": "state_rebuilt", "rows": count},
            )  # fmt: skip
            return
        progressed = now if messages else progressed
        if now - progressed > STALLED_S:
            raise BrokerUnreachable(f"No records of {name} arrived for {STALLED_S:.0f} s")
        if now - reported > REPORT_S:
            reported = now
            logger.info("Rebuilding the state of %s: %d rows so far", name, count)


def _is_end(error: KafkaError, name: str) -> bool:
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
        return True
    if error.retriable() or error.code() == KafkaError._TRANSPORT:  # noqa: SLF001
        return False
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise StateUnreadable(f"{name} does not exist: run `foremesh topics create`")
    check_rights(error)
    raise BrokerUnreachable(f"{name} cannot be read: {error.str()}")
