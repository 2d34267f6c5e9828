"""What a stage sends."""

from __future__ import annotations

from collections.abc import Iterable

from streams.engine.producer import CheckedProducer
from streams.engine.world import Wiring
from streams.errors import DeliveryFailed
from streams.records import Record
from streams.settings import Settings
from streams.topology import TOPICS, key_of, topic_of

__all__ = ["Outbox"]


class Outbox:
    """Records on their way to their topics.

    Parameters
    ----------
    settings
        Names of topics, and how long a delivery may take.
    wiring
        Codec and producer.
    """

    def __init__(self, settings: Settings, wiring: Wiring) -> None:
        self._topics = {name: settings.topic(name) for name in TOPICS}
        self._encode, self._config = wiring.codec.encode, wiring.producer_config
        self._timeout_s = settings.delivery_ms / 1000
        self._producer = CheckedProducer(self._config)

    def put(self, records: Iterable[Record]) -> None:
        """Send these; they are on their way."""
        for record in records:
            topic = self._topics[topic_of(record)]
            self._producer.send(topic, key_of(record), self._encode(record))

    def deliver(self) -> None:
        """Wait until all of them are delivered; blocks.

        Raises
        ------
        DeliveryFailed
            Some are not: what is put from now on has nothing to do with them.
        """
        try:
            self._producer.flush(self._timeout_s)
        except DeliveryFailed:
            self._producer = CheckedProducer(self._config)
            raise
