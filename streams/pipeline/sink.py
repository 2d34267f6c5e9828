"""From Kafka to PostgreSQL: the process behind `foremesh sink`."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event

from confluent_kafka import Consumer, KafkaError, Message

from streams.adapters.avro.codec import RecordCodec, RecordUndecodable, installed
from streams.adapters.kafka.clients import commit_read, consumer_config, producer_config
from streams.adapters.metrics.table import (
    BATCH_SECONDS,
    DEAD_LETTERS,
    DELAY_SECONDS,
    RECORDS,
    ROWS,
    SINK_FAILED,
    SINK_RETRIES,
)
from streams.adapters.postgres.maintenance import check_schema
from streams.adapters.postgres.rows import StoredTable
from streams.adapters.postgres.sink import PostgresSink, ReceivedRecord, SinkEntry
from streams.adapters.postgres.tables import TABLES, stored_tables
from streams.broker.refusal import check_rights
from streams.engine.producer import CheckedProducer
from streams.errors import DatabaseOutdated, DatabaseUnreachable, TopicsMissing
from streams.flow.declaration import SINK, FlowTopology
from streams.flow.topology import TOPOLOGY
from streams.pipeline.database_wait import DatabaseWait
from streams.pipeline.sink_lag import END, SinkLag
from streams.records import DeadLetter
from streams.settings import Settings
from streams.tracing.opening import tracer_of
from streams.tracing.traceparent import place_of, traceparent_of

__all__ = ["RecordSink"]

_log = logging.getLogger(__name__)

BATCH = 5_000  # most records per transaction, which costs as much as some hundred rows
CHUNK = 100  # most records per call of the client: 300 MiB if all have the largest size
LINGER_S = 0.2  # how long a batch waits for more records


class RecordSink:
    """Writes the records of the stored topics to PostgreSQL.

    Guarantee: at least once up to the tables, whose writes are idempotent. A record that cannot be
    stored affects no other: it is sent to `dead-letters`, unless a stage does that. While PostgreSQL
    is away nothing is read; it goes on by itself.

    Parameters
    ----------
    settings
        Kafka, PostgreSQL, and the most bytes of a batch.
    topology, codec, tables
        The kinds of record that are stored, their encoding and their tables; by default those of
        this flow.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topology: FlowTopology = TOPOLOGY,
        codec: RecordCodec | None = None,
        tables: Iterable[StoredTable] = TABLES,
    ) -> None:
        self._settings = settings
        self._topology = topology
        self._codec = installed() if codec is None else codec
        config = consumer_config(settings, settings.group(SINK))
        self._consumer = Consumer({**config, "enable.partition.eof": True})
        self._lag = SinkLag(self._consumer)
        self._producer = CheckedProducer(producer_config(settings))
        self._database = PostgresSink(settings.postgres, tables=stored_tables(topology, tables))
        self._tracer = tracer_of(settings, SINK)
        self._stopping = Event()
        self._wait = DatabaseWait(self._stopping)

    @property
    def writes(self) -> bool:
        """Whether PostgreSQL took the last batch, or answered at the start."""
        return self._wait.answered

    def stop(self) -> None:
        """Make `run` return after the current batch."""
        self._stopping.set()

    def wait_for_schema(self) -> None:
        """Return once the database has every migration, or when stopped."""
        with suppress(DatabaseUnreachable):  # stopped meanwhile
            self._wait.until_answered(lambda: check_schema(self._settings.postgres))

    def run(self) -> None:
        """Write until stopped.

        Raises
        ------
        DatabaseOutdated
            It lacks a table or column, though it has every migration; nothing is lost, run again.
        DeliveryFailed, TopicsMissing, RightsMissing
            Dead letters are not delivered; a topic does not exist, or not for this user.
        """
        self._consumer.subscribe([self._settings.topic(name) for name in self._topology.stored])
        try:
            while not self._stopping.is_set():
                if batch := self._read():
                    self._settle(batch)
                self._lag.tell(time.monotonic())
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
                self._lag.note(message)
                if _usable(message):
                    batch.append(message)
                    size += len(message)
        return batch

    def _settle(self, batch: Sequence[Message]) -> None:
        """Write and commit a batch. In this order nothing is lost, whenever the process ends."""
        with BATCH_SECONDS.labels(SINK).time(), self._traced(batch):
            entries, letters = self._decoded(batch)
            # 1. Write to PostgreSQL: one transaction.
            letters += self._written(entries)
            # 2. Flush the producer: everything delivered, or fail.
            for letter in letters:
                self._producer.send(
                    self._settings.topic("dead-letters"), letter.key, self._codec.encode(letter)
                )
            self._producer.flush(self._settings.delivery_ms / 1000)
            # 3. Commit the offsets.
            commit_read(self._consumer, batch)
        DELAY_SECONDS.labels(SINK).observe(time.time() - batch[0].timestamp()[1] / 1000)

    @contextmanager
    def _traced(self, batch: Sequence[Message]) -> Iterator[None]:
        """A span of each record that carries a trace, until the batch is settled."""
        if self._tracer is None:
            yield
            return
        group = self._settings.group(SINK)
        spans = [
            self._tracer.reading(SINK, place_of(message, group), parent)
            for message in batch
            if (parent := traceparent_of(message.headers()))
        ]
        try:
            yield
        finally:
            for span in spans:
                span.end()

    def _decoded(self, batch: Sequence[Message]) -> tuple[list[SinkEntry], list[DeadLetter]]:
        entries: list[SinkEntry] = []
        letters: list[DeadLetter] = []
        for message in batch:
            received = _received(message, self._settings.prefix)
            outcome = "done"
            if received.value is not None:  # a tombstone deletes no row
                try:
                    entries.append(self._entry(received, received.value))
                except RecordUndecodable as error:
                    outcome = "dead"
                    if not self._topology.topics[received.topic].reported_by:
                        DEAD_LETTERS.labels("undecodable").inc()
                        letters.append(received.dead(str(error)))
            RECORDS.labels(SINK, received.topic, outcome).inc()
        return entries, letters

    def _entry(self, received: ReceivedRecord, value: bytes) -> SinkEntry:
        record = self._codec.decode(value)
        if not isinstance(record, self._topology.topics[received.topic].records):
            kind = type(record).__name__
            raise RecordUndecodable(f"a {kind} does not belong on {received.topic}")
        return SinkEntry(record, received)

    def _written(self, entries: Sequence[SinkEntry]) -> list[DeadLetter]:
        letters = self._wait.until_answered(
            lambda: self._database.write(entries), _count_failed, hopeless=(DatabaseOutdated,)
        )
        _count_written(entries, letters)
        return letters


def _count_failed() -> None:
    SINK_FAILED.set_to_current_time()
    SINK_RETRIES.inc()


def _count_written(entries: Sequence[SinkEntry], letters: Sequence[DeadLetter]) -> None:
    DEAD_LETTERS.labels("unstorable").inc(len(letters))
    for topic, count in Counter(entry.received.topic for entry in entries).items():
        ROWS.labels(topic).inc(count)


def _usable(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() == END:
        return False
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise TopicsMissing(f"{TopicsMissing.__doc__} ({error.str()})")
    check_rights(error)
    _log.warning("Kafka reports an error: %s", error.str(), extra={"action": "sink_kafka"})
    return False


def _received(message: Message, prefix: str) -> ReceivedRecord:
    _, at_ms = message.timestamp()
    return ReceivedRecord(
        topic=(message.topic() or "").removeprefix(prefix),
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        at_ms=at_ms,
        key=message.key(),
        value=message.value(),
    )
