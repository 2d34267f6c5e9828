"""From Kafka to PostgreSQL: what `foremesh sink` does."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from threading import Event

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.adapters import codec
from streams.adapters.kafka import commit, consumer_config, producer_config
from streams.adapters.metrics import BATCH_SECONDS, RECORDS
from streams.adapters.postgres_sink import Entry, PostgresSink, Received
from streams.engine.producer import CheckedProducer
from streams.errors import DatabaseUnreachable, TopicsMissing
from streams.flow.topology import TOPICS
from streams.records import DeadLetter, Record
from streams.settings import Settings

__all__ = ["Sink"]

_log = logging.getLogger(__name__)

READS = (
    "predictions",
    "commands",
    "verdicts",
    "trials",
    "instances",
    "utilisation",
    "outcomes",
    "dead-letters",
)
BATCH = 5_000  # most records written at once: a transaction costs as much as some hundred rows
CHUNK = 100  # records taken from the client at once: of the largest they are 300 MiB
LINGER_S = 0.2  # how long a batch waits for more
PATIENCE_S = 60.0  # how long PostgreSQL may be away
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0


class Sink:
    """Writes what happens on Kafka to PostgreSQL.

    Guarantee: at least once up to the tables, which take a record twice as once. A record that
    cannot be stored hurts only itself: it is sent to `dead-letters`, unless a stage does that.

    Parameters
    ----------
    settings
        Kafka, PostgreSQL, and how many bytes a batch may have.
    patience_s
        How long to try again while PostgreSQL is away, before giving up.
    """

    def __init__(self, settings: Settings, patience_s: float = PATIENCE_S) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._consumer = Consumer(consumer_config(settings, settings.group("sink")))
        self._producer = CheckedProducer(producer_config(settings))
        self._database = PostgresSink(settings.postgres)
        self._stopping = Event()

    def stop(self) -> None:
        """Have `run` return after the batch in hand."""
        self._stopping.set()

    def run(self) -> None:
        """Write until stopped.

        Raises
        ------
        DatabaseUnreachable
            PostgreSQL was away for longer than `patience_s`; start again, nothing is lost.
        DeliveryFailed, TopicsMissing
            Kafka does not take dead letters; a topic is not there.
        """
        self._consumer.subscribe([self._settings.topic(name) for name in READS])
        try:
            while not self._stopping.is_set():
                if batch := self._read():
                    self._settle(batch)
        except DatabaseUnreachable:
            if not self._stopping.is_set():
                raise
        finally:
            self._consumer.close()
            self._database.close()

    def _read(self) -> list[Message]:
        """The next batch: bounded in records, bytes and time."""
        batch: list[Message] = []
        size, until = 0, time.monotonic() + LINGER_S
        while len(batch) < BATCH and size < self._settings.batch_bytes:
            left = until - time.monotonic()
            if left <= 0:
                break
            for message in self._consumer.consume(CHUNK, left):
                if _usable(message):
                    batch.append(message)
                    size += len(message)
        return batch

    def _settle(self, batch: Sequence[Message]) -> None:
        """Be done with a batch. The order is what loses nothing, whenever this process ends."""
        with BATCH_SECONDS.labels("sink").time():
            entries, letters = self._decoded(batch)
            # 1. Write to PostgreSQL: one transaction.
            letters += self._written(entries)
            # 2. Flush the producer: everything delivered, or fail.
            for letter in letters:
                self._producer.send(
                    self._settings.topic("dead-letters"), letter.key, codec.encode(letter)
                )
            self._producer.flush(self._settings.delivery_ms / 1000)
            # 3. Commit the offsets.
            self._commit(batch)

    def _decoded(self, batch: Sequence[Message]) -> tuple[list[Entry], list[DeadLetter]]:
        entries: list[Entry] = []
        letters: list[DeadLetter] = []
        for message in batch:
            received = _received(message)
            topic = received.topic.removeprefix(self._settings.prefix)
            outcome = "done"
            if received.value is not None:  # a deletion on a compacted topic ends no history
                try:
                    entries.append(Entry(_record(topic, received.value), received))
                except codec.Undecodable as error:
                    outcome = "dead"
                    if not TOPICS[topic].reported_by:
                        letters.append(received.dead(str(error)))
            RECORDS.labels("sink", topic, outcome).inc()
        return entries, letters

    def _written(self, entries: Sequence[Entry]) -> list[DeadLetter]:
        deadline = time.monotonic() + self._patience_s
        for pause_s in _pauses():
            try:
                return self._database.write(entries)
            except DatabaseUnreachable as error:
                if time.monotonic() + pause_s > deadline:
                    raise
                _log.warning(
                    "PostgreSQL is away, trying again in %.1f s: %s",
                    pause_s, error, extra={"action": "sink_retry"},
                )  # fmt: skip
                if self._stopping.wait(pause_s):
                    raise
        raise AssertionError  # the pauses have no end

    def _commit(self, batch: Sequence[Message]) -> None:
        last = {(m.topic() or "", m.partition() or 0): m.offset() or 0 for m in batch}
        offsets = [TopicPartition(*place, offset + 1) for place, offset in last.items()]
        commit(self._consumer, offsets)


def _usable(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise TopicsMissing(f"{TopicsMissing.__doc__} ({error.str()})")
    _log.warning("Kafka says: %s", error.str(), extra={"action": "sink_kafka"})
    return False


def _received(message: Message) -> Received:
    _, at_ms = message.timestamp()
    return Received(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        at_ms=at_ms,
        key=message.key(),
        value=message.value(),
    )


def _record(topic: str, value: bytes) -> Record:
    record = codec.decode(value)
    if not isinstance(record, TOPICS[topic].records):
        raise codec.Undecodable(f"a {type(record).__name__} does not belong on {topic}")
    return record


def _pauses() -> Iterator[float]:
    for attempt in itertools.count():
        yield min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
