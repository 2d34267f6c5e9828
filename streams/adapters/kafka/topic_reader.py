"""Reads a topic to its end as of now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.adapters.kafka.clients import connect, reader_config
from streams.errors import BrokerUnreachable, TopicsMissing
from streams.settings import Settings

__all__ = ["read_topic"]

ANSWER_S = 30.0
CHUNK = 1_000


def read_topic(settings: Settings, topic: str, since_ms: int = 0) -> Iterator[Message]:
    """The records of a topic (with prefix) from `since_ms` to its end as of now.

    Raises
    ------
    BrokerUnreachable, TopicsMissing
        No broker answers, or nothing arrives for half a minute; there is no such topic.
    """
    connect(settings)  # a consumer says of a broker that it cannot reach no more than that
    config = {**reader_config(settings), "auto.offset.reset": "earliest"}
    with closing(Consumer(config)) as consumer:
        try:
            partitions = _partitions(consumer, topic)
            at = [TopicPartition(topic, p, since_ms) for p in partitions]
            ends = {p.partition: consumer.get_watermark_offsets(p, ANSWER_S)[1] for p in at}
            consumer.assign(consumer.offsets_for_times(at, ANSWER_S) if since_ms else at)
            yield from _to_end(consumer, ends)
        except KafkaException as error:
            raise BrokerUnreachable(f"{topic} cannot be read: {error.args[0].str()}") from error


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    found = consumer.list_topics(topic, ANSWER_S).topics[topic]
    if found.error is not None or not found.partitions:
        raise TopicsMissing(f"topic {topic} is missing: run `foremesh topics create`")
    return list(found.partitions)


def _to_end(consumer: Consumer, ends: Mapping[int, int]) -> Iterator[Message]:
    """The records before the ends; what is written meanwhile may be written because of them."""
    left = set(ends)
    deadline = time.monotonic() + ANSWER_S
    while left:
        for message in consumer.consume(CHUNK, 0.05):
            deadline = time.monotonic() + ANSWER_S
            error = message.error()
            partition, offset = message.partition() or 0, message.offset() or 0
            if error is None and offset < ends[partition]:
                yield message
            elif error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                left.discard(partition)
            elif not error.retriable():
                raise KafkaException(error)
        if time.monotonic() > deadline:
            raise BrokerUnreachable(f"Kafka sent nothing for {ANSWER_S:.0f} s")
