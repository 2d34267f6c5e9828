"""Producers that report every record that was not delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from streams.broker.refusal import check_rights, is_denied
from streams.errors import DeliveryFailed

__all__ = [
    "CheckedProducer",
    "Row",
    "TransactionalFlowWriter",
    "TransactionalWriter",
    "WriterFenced",
]

Headers = Sequence[tuple[str, bytes]]
Row = tuple[bytes | None, bytes | None]  # key and value

BY_KEY = -1  # in place of a partition
CHUNK = 10_000  # rows per call of librdkafka
POLL_S = 0.001  # a delivery takes a few milliseconds
MOST_QUEUED = 50_000  # plus a chunk this stays well below the 100,000 of librdkafka's queue

# An error that ends a producer is raised out of any call; out of a callback, as the latter.
FATAL = (KafkaException, SystemError)
FENCED = {
    KafkaError._FENCED,  # noqa: SLF001  # its public name
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}


class WriterFenced(DeliveryFailed):
    """Another worker owns the partition now."""


class CheckedProducer:
    """A librdkafka producer; `flush` checks the delivery of every record.

    Parameters
    ----------
    config
        Of librdkafka, as `adapters.kafka.clients.producer_config` gives it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._failures: list[str] = []
        self._ended = ""  # why the producer has failed for good
        self._denied = False
        # Only errors are reported: success is an empty queue without errors, and a callback into
        # Python for every record would cost more than sending it.
        reports = {
            "delivery.report.only.error": True,
            "on_delivery": self._on_failure,
            "error_cb": self._on_error,
        }
        self._producer = Producer({**config, **reports})
        self._produce = self._producer.produce

    def _on_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}: {error.str()}")
            self._denied |= is_denied(error)

    def _on_error(self, error: KafkaError) -> None:
        """Note what ends the producer; of the records it is only told that they are purged."""
        if error.fatal():
            self._ended = error.str()
            self._denied |= is_denied(error)

    def _on_fatal(self, error: Exception) -> None:
        reason = (error.__cause__ or error).args[0]
        self._failures.append(str(reason))
        self._denied |= isinstance(reason, KafkaError) and is_denied(reason)

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        partition: int = BY_KEY,
        timestamp_ms: int = 0,
    ) -> None:
        """Enqueue a record; it is delivered when `flush` has returned.

        Blocks while the local queue is full.

        Raises
        ------
        DeliveryFailed
            The record is larger than Kafka accepts, or the producer has failed for good.
        """
        options: dict[str, Any] = {"timestamp": timestamp_ms} if timestamp_ms else {}
        if headers:
            options["headers"] = headers
        while True:
            try:
                self._produce(topic, value, key, partition, **options)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self._producer.poll(0)  # hears of what has ended it
                raise DeliveryFailed(
                    f"Kafka does not accept a record for {topic}: {error}{self._advice}"
                ) from error
            else:
                return

    def send_all(self, topic: str, rows: Sequence[Row]) -> None:
        """Enqueue many records at once, as keys and values; see `send`.

        `send` releases the GIL for each record, which wakes up every thread that waits for it.
        """
        with _converted(f"Kafka does not accept records for {topic}"):
            _enqueue(self._producer, topic, rows)

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was sent is delivered.

        Raises
        ------
        DeliveryFailed
            A record was refused, or not delivered within `timeout_s` seconds.
        """
        try:
            left = self._producer.flush(timeout_s)
        except FATAL as error:
            self._on_fatal(error)
            left = len(self._producer)
        self._check(left, timeout_s)

    async def flush_async(self, timeout_s: float) -> None:
        """As `flush`, in the event loop: a thread would wait for the GIL besides."""
        deadline = time.monotonic() + timeout_s
        try:
            while self._producer.poll(0) or len(self._producer):
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(POLL_S)
        except FATAL as error:
            self._on_fatal(error)
        self._check(len(self._producer), timeout_s)

    @property
    def _advice(self) -> str:
        return ", give the rights of `foremesh acl print`" if self._denied else ""

    def _check(self, left: int, timeout_s: float) -> None:
        failures, self._failures = self._failures, []
        if left or failures:
            why = self._ended or (*failures, f"no answer within {timeout_s:.0f} s")[0]
            raise DeliveryFailed(
                f"{left + len(failures)} records not delivered to Kafka ({why}{self._advice}): "
                "see the broker's log, then start again"
            )


class TransactionalWriter:
    """Writes rows to a compacted topic in transactions, as its only writer.

    Opening it fences every earlier writer with the same `transactional_id`: the broker aborts its
    open transaction and refuses what it still sends (KIP-98). Without a partition, keys choose it.
    """

    def __init__(
        self, config: Mapping[str, Any], transactional_id: str, topic: str, partition: int = BY_KEY
    ) -> None:
        self._topic, self._partition = topic, partition
        self._place = topic if partition == BY_KEY else f"{topic}[{partition}]"
        self._timeout_s = config["delivery.timeout.ms"] / 1000
        self._producer = _only_writer(config, transactional_id, self._place)

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows in one transaction; None deletes.

        Raises
        ------
        DeliveryFailed
            They may be committed or not: open a new writer, then read. This one cannot be used any
            more.
        """
        with _converted(f"{self._place} was not saved"):
            self._producer.begin_transaction()
            _enqueue(self._producer, self._topic, rows, self._partition)
            self._producer.commit_transaction(self._timeout_s)


class TransactionalFlowWriter:
    """Writes rows to many partitions, and the input that they include, in one transaction.

    Opening it fences every earlier writer with the same `transactional_id`.
    """

    def __init__(self, config: Mapping[str, Any], transactional_id: str) -> None:
        self._timeout_s = config["delivery.timeout.ms"] / 1000
        self._producer = _only_writer(config, transactional_id, "the flow")

    def write(
        self,
        rows: Mapping[tuple[str, int], Sequence[Row]],
        offsets: Sequence[TopicPartition],
        consumer: Consumer,
    ) -> None:
        """Write rows by topic and partition, and commit these offsets of the consumer's group.

        Raises
        ------
        DeliveryFailed
            All are written, or none: open a new writer, then read. `WriterFenced` if there is one.
        """
        with _converted("The flow was not saved"):
            self._producer.begin_transaction()
            for (topic, partition), some in rows.items():
                _enqueue(self._producer, topic, some, partition)
            group = consumer.consumer_group_metadata()
            self._producer.send_offsets_to_transaction(list(offsets), group, self._timeout_s)
            self._producer.commit_transaction(self._timeout_s)


def _only_writer(config: Mapping[str, Any], transactional_id: str, what: str) -> Producer:
    """A transactional producer; every earlier one with this id is fenced."""
    own = {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": config["delivery.timeout.ms"],
        "linger.ms": 0,
    }
    producer = Producer({**config, **own})
    with _converted(f"The earlier writer of {what} cannot be fenced"):
        producer.init_transactions(config["delivery.timeout.ms"] / 1000)
    return producer


def _enqueue(producer: Producer, topic: str, rows: Sequence[Row], partition: int = BY_KEY) -> None:
    """Enqueue rows, in order; waits for room, which delivery timeouts make at the latest."""
    for start in range(0, len(rows), CHUNK):
        while len(producer) > MOST_QUEUED:
            producer.poll(0.05)
        chunk = rows[start : start + CHUNK]
        messages: list[dict[str, Any]] = [{"key": key, "value": value} for key, value in chunk]
        if producer.produce_batch(topic, messages, partition) < len(messages):
            raise KafkaException(next(m["_error"] for m in messages if "_error" in m))


class _converted:  # noqa: N801  # reads as one in a with statement
    """Raises errors of Kafka as `DeliveryFailed`, `WriterFenced` or `RightsMissing`."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KafkaException):
            reason: KafkaError = error.args[0]
            check_rights(reason)
            kind_of = WriterFenced if reason.code() in FENCED else DeliveryFailed
            raise kind_of(f"{self._what}: {reason.str()}") from error
