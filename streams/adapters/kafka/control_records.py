"""Whether records are left on a partition, or only markers of transactions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.adapters.kafka.clients import reader_config
from streams.broker.offsets import Offsets
from streams.settings import Settings

__all__ = ["without_records"]

PATIENCE_S = 5.0
CHUNK = 100
# One record shows that there is one: as little as possible is fetched.
_LITTLE = {"fetch.message.max.bytes": 1_024, "queued.max.messages.kbytes": 1_024}


def without_records(settings: Settings, starts: Sequence[Offsets]) -> list[set[tuple[str, int]]]:
    """Of each of these offsets the partitions on which no record can be read from there on.

    What is behind them was left by transactions: their markers, and what was rolled back. One that
    does not answer in time counts as having records.
    """
    if not any(starts):
        return [set() for _ in starts]
    config = reader_config(settings)
    consumer = Consumer({**config, **_LITTLE, "isolation.level": "read_committed"})
    try:
        return [_ended_from(consumer, start) for start in starts]
    finally:
        consumer.close()


def _ended_from(consumer: Consumer, start: Offsets) -> set[tuple[str, int]]:
    consumer.assign([TopicPartition(*at, offset) for at, offset in start.items()])
    return set(_ended_first(consumer, start))


def _ended_first(consumer: Consumer, waiting: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    left, ended, deadline = set(waiting), [], time.monotonic() + PATIENCE_S
    while left and time.monotonic() < deadline:
        for message in consumer.consume(CHUNK, 0.1):
            at, error = (message.topic() or "", message.partition() or 0), message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                raise KafkaException(error)
            if at in left and error is not None:
                ended.append(at)
            left.discard(at)
    return ended
