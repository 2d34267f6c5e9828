"""What the gateway tells Kafka, without ever waiting for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.flow.topology import key_of, topic_of
from streams.records import Record

__all__ = ["EventBuffer"]

logger = logging.getLogger(__name__)


class EventBuffer:
    """A bounded buffer in front of Kafka, each delivery checked.

    While Kafka is away events are kept, up to `most` and for as long as the producer's delivery
    timeout; what is lost after that is counted and logged, and requests are served all the same.

    Parameters
    ----------
    config
        A librdkafka producer's.
    encode, topic
        A record's bytes, and a topic's name on the broker.
    most
        Events kept at most.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        encode: Callable[[Record], bytes],
        topic: Callable[[str], str],
        most: int = 50_000,
    ) -> None:
        self._producer = Producer({**config, "queue.buffering.max.messages": most})
        self._encode = encode
        self._topic = topic
        self.delivered = 0
        self.dropped = 0

    def put(self, record: Record) -> None:
        """Hand a record over; returns at once."""
        try:
            self._producer.produce(
                self._topic(topic_of(record)),
                value=self._encode(record),
                key=key_of(record),
                on_delivery=self._answered,
            )
        except (BufferError, KafkaException) as error:
            self._drop(str(error))

    def poll(self) -> None:
        """Take Kafka's answers in."""
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> int:
        """Wait for Kafka's answers; returns how many events were lost in all."""
        left = self._producer.flush(timeout_s)
        return self.dropped + left

    def __len__(self) -> int:
        return len(self._producer)

    def _answered(self, error: KafkaError | None, message: Message) -> None:
        del message
        if error is None:
            self.delivered += 1
        else:
            self._drop(error.str())

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if self.dropped.bit_count() == 1:  # the first, the second, the fourth ...
            told = {"action": "event_dropped", "dropped": self.dropped}
            logger.warning("%d events could not be sent: %s", self.dropped, why, extra=told)
