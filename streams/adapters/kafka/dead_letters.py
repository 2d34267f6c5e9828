"""Dead letters on Kafka, and which of their records were replayed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import reader_config
from streams.errors import BrokerUnreachable, TopicsMissing
from streams.flow.declaration import SINK
from streams.flow.topology import TOPICS
from streams.records import DeadLetter
from streams.settings import Settings

__all__ = ["REPLAY_HEADER", "DeadLetterAtOffset", "letters", "read_topic", "replayed"]

REPLAY_HEADER = "foremesh-replay-of"  # on a replayed record: place of its dead letter
ANSWER_S = 30.0
CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class DeadLetterAtOffset:
    """A dead letter and its place."""

    partition: int
    offset: int
    stored_ms: int  # timestamp of the broker
    letter: DeadLetter

    @property
    def name(self) -> bytes:
        """Its value of `REPLAY_HEADER`."""
        return f"{self.partition}/{self.offset}".encode()

    @property
    def topic(self) -> str | None:
        """The topic that the record came from, without prefix; None when that was a file."""
        return self.letter.topic if self.letter.topic in TOPICS else None


def letters(settings: Settings) -> Iterator[DeadLetterAtOffset]:
    """All dead letters as of now, partition by partition."""
    for message in read_topic(settings, settings.topic("dead-letters")):
        try:
            record = codec.decode(message.value() or b"")
        except codec.RecordUndecodable:
            continue
        if isinstance(record, DeadLetter):
            letter = _with_bare_topic(record, settings.prefix)
            at_ms = message.timestamp()[1]
            yield DeadLetterAtOffset(message.partition() or 0, message.offset() or 0, at_ms, letter)


def _with_bare_topic(letter: DeadLetter, prefix: str) -> DeadLetter:
    """The same letter with the name of its topic without prefix: old ones of the sink have one."""
    bare = letter.topic.removeprefix(prefix)
    return replace(letter, topic=bare) if letter.stage == SINK and bare in TOPICS else letter


def replayed(settings: Settings, topic: str, since_ms: int) -> set[bytes]:
    """The names of the dead letters whose records were replayed to `topic` since then."""
    found: set[bytes] = set()
    for message in read_topic(settings, settings.topic(topic), since_ms=since_ms):
        name = dict(message.headers() or ()).get(REPLAY_HEADER)
        if isinstance(name, bytes):
            found.add(name)
    return found


def read_topic(settings: Settings, topic: str, since_ms: int = 0) -> Iterator[Message]:
    """The records of a topic (with prefix) from `since_ms` to its end as of now.

    Raises
    ------
    BrokerUnreachable, TopicsMissing
        Nothing arrives for half a minute; there is no such topic.
    """
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
