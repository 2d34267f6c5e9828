"""Producers that say what Kafka has not taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.errors import DeliveryFailed

__all__ = ["CheckedProducer", "Row", "TransactionalWriter", "WriterFenced"]

Headers = Sequence[tuple[str, bytes]]
Row = tuple[bytes | None, bytes | None]  # key and value

CHUNK = 10_000  # rows that are handed over at once
LOOK_S = 0.001  # a delivery takes a few milliseconds
MOST_QUEUED = 50_000  # with a chunk well below what librdkafka's queue holds, 100,000

FENCED = {
    KafkaError._FENCED,  # noqa: SLF001  # its public name
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
}


class WriterFenced(DeliveryFailed):
    """Another worker has taken the partition over."""


class CheckedProducer:
    """A librdkafka producer of which every delivery is checked at `flush`.

    Parameters
    ----------
    config
        Of librdkafka, as `adapters.kafka.producer_config` gives it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._failures: list[str] = []
        # Reports of success are not asked for: that nothing is left and nothing failed says it,
        # and a call back into Python for every record would cost more than sending it.
        reports = {"delivery.report.only.error": True, "on_delivery": self._on_failure}
        self._producer = Producer({**config, **reports})
        self._produce = self._producer.produce

    def _on_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}: {error.str()}")

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        partition: int = -1,
        timestamp_ms: int = 0,
    ) -> None:
        """Hand a record over; it is delivered when `flush` has returned.

        When the local queue is full this waits for room.

        Raises
        ------
        DeliveryFailed
            The record is larger than Kafka takes, or the producer is beyond use.
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
                raise DeliveryFailed(
                    f"Kafka does not take a record for {topic}: {error}"
                ) from error
            else:
                return

    def send_all(self, topic: str, rows: Sequence[Row]) -> None:
        """Hand many records over at once, as keys and values; see `send`.

        For each record `send` lets go of the interpreter, and every thread that waits for it
        wakes up in vain.
        """
        with _converted(f"Kafka does not take records for {topic}"):
            _hand_over(self._producer, topic, rows)

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was sent is delivered.

        Raises
        ------
        DeliveryFailed
            Something was refused, or is not delivered within `timeout_s` seconds.
        """
        self._producer.flush(timeout_s)
        self._check(timeout_s)

    async def emptied(self, timeout_s: float) -> None:
        """As `flush`, in an event loop: a thread would wait for the interpreter besides."""
        deadline = time.monotonic() + timeout_s
        while self._producer.poll(0) or len(self._producer):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(LOOK_S)
        self._check(timeout_s)

    def _check(self, timeout_s: float) -> None:
        left = len(self._producer)
        failures, self._failures = self._failures, []
        if left or failures:
            why = failures[0] if failures else f"no answer within {timeout_s:.0f} s"
            raise DeliveryFailed(
                f"{left + len(failures)} records not delivered to Kafka ({why}): "
                "see the broker's log, then start again"
            )


class TransactionalWriter:
    """Writes rows to one partition of a compacted topic: all of them or none, and alone.

    Opening it takes the partition over. From then on the broker refuses what any earlier writer
    with the same `transactional_id` still sends, and undoes what it had not finished (KIP-98).
    """

    def __init__(
        self, config: Mapping[str, Any], transactional_id: str, topic: str, partition: int
    ) -> None:
        self._topic, self._partition = topic, partition
        self._timeout_s = config["delivery.timeout.ms"] / 1000
        own = {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": config["delivery.timeout.ms"],
            "linger.ms": 0,
        }
        self._producer = Producer({**config, **own})
        with _converted(f"{topic}[{partition}] cannot be taken over"):
            self._producer.init_transactions(self._timeout_s)

    def write(self, rows: Sequence[Row]) -> None:
        """Write rows as one; None deletes.

        Raises
        ------
        DeliveryFailed
            Whether they are written is then for a reader to find out, after a new writer was
            opened; this one is beyond use.
        """
        with _converted(f"{self._topic}[{self._partition}] was not saved"):
            self._producer.begin_transaction()
            _hand_over(self._producer, self._topic, rows, self._partition)
            self._producer.commit_transaction(self._timeout_s)


def _hand_over(producer: Producer, topic: str, rows: Sequence[Row], partition: int = -1) -> None:
    """Put rows into the local queue, in order; waits for room, which time-outs make in the end."""
    for start in range(0, len(rows), CHUNK):
        while len(producer) > MOST_QUEUED:
            producer.poll(0.05)
        chunk = rows[start : start + CHUNK]
        messages: list[dict[str, Any]] = [{"key": key, "value": value} for key, value in chunk]
        if producer.produce_batch(topic, messages, partition) < len(messages):
            raise KafkaException(next(m["_error"] for m in messages if "_error" in m))


class _converted:  # noqa: N801  # used as a word
    """Kafka's errors as ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KafkaException):
            reason: KafkaError = error.args[0]
            kind_of = WriterFenced if reason.code() in FENCED else DeliveryFailed
            raise kind_of(f"{self._what}: {reason.str()}") from error
