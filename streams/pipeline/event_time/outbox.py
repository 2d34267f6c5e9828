"""The records of a flow in memory, on their way to Kafka."""

from __future__ import annotations

from collections import defaultdict

from streams.adapters.kafka.clients import producer_config
from streams.engine.producer import CheckedProducer, Row
from streams.pipeline.replay import QueuedRecord
from streams.settings import Settings

__all__ = ["FlowOutbox"]

MOST = 1_000  # records that are sent at once


class FlowOutbox:
    """Sends records to their topics."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = CheckedProducer(producer_config(settings))
        self._waiting: defaultdict[str, list[Row]] = defaultdict(list)
        self._count = 0

    def put(self, made: QueuedRecord) -> None:
        """Send a record, with others."""
        self._waiting[made.topic].append((made.key, made.value))
        self._count += 1
        if self._count >= MOST:
            self._send()

    def deliver(self) -> None:
        """Wait until all are delivered; raises `DeliveryFailed`."""
        self._send()
        self._producer.flush(self._settings.delivery_ms / 1000)

    def _send(self) -> None:
        for topic, rows in self._waiting.items():
            self._producer.send_all(self._settings.topic(topic), rows)
        self._waiting.clear()
        self._count = 0
