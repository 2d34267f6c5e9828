"""A bounded buffer of events in front of Kafka: requests never wait for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.adapters.metrics.table import EVENTS_LOST
from streams.flow.topology import key_of, topic_of
from streams.records import Record

if TYPE_CHECKING:
    from streams.tracing.record_tracer import RecordTracer

__all__ = ["EventBuffer"]

logger = logging.getLogger(__name__)


class EventBuffer:
    """Sends records to Kafka without waiting, and checks each delivery.

    While Kafka is unreachable, events are kept up to `limit` and for the producer's delivery
    timeout; those lost after that are counted and logged. Requests are served all the same.

    Parameters
    ----------
    config
        Configuration of a librdkafka producer.
    encode, topic
        Encode a record, and give a topic's name on the broker.
    limit
        Most events that are kept.
    tracer
        Makes a span of each that belongs to a trace; None: there are no traces.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        encode: Callable[[Record], bytes],
        topic: Callable[[str], str],
        limit: int = 50_000,
        tracer: RecordTracer | None = None,
    ) -> None:
        self._producer = Producer({**config, "queue.buffering.max.messages": limit})
        self._encode = encode
        self._topic = topic
        self._tracer = tracer
        self.delivered = 0
        self.dropped = 0

    def put(self, record: Record) -> None:
        """Queue a record; returns at once."""
        topic = self._topic(topic_of(record))
        headers = self._tracer.sending(topic, record) if self._tracer else ()
        options: dict[str, Any] = {"headers": [*headers]} if headers else {}
        try:
            self._producer.produce(
                topic,
                value=self._encode(record),
                key=key_of(record),
                on_delivery=self._delivered,
                **options,
            )
        except (BufferError, KafkaException) as error:
            self._drop(str(error))

    async def poll(self) -> None:
        """Handle the delivery reports that have arrived."""
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> int:
        """Wait for the outstanding deliveries; returns how many events were lost in all."""
        left = self._producer.flush(timeout_s)
        return self.dropped + left

    def __len__(self) -> int:
        return len(self._producer)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        del message
        if error is None:
            self.delivered += 1
        else:
            self._drop(error.str())

    def _drop(self, why: str) -> None:
        self.dropped += 1
        EVENTS_LOST.inc()
        if self.dropped.bit_count() == 1:  # the first, the second, the fourth ...
            extra = {"action": "event_dropped", "dropped": self.dropped}
            logger.warning("%d events could not be sent: %s", self.dropped, why, extra=extra)
