"""What a stage sends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from streams.engine.producer import CheckedProducer, Row
from streams.engine.world import StageWiring
from streams.flow.topology import TOPICS, key_of, topic_of
from streams.records import Record
from streams.settings import Settings

__all__ = ["StageOutbox"]

LINGER_MS = 1  # what is put comes in batches already


class StageOutbox:
    """Records on their way to their topics.

    Parameters
    ----------
    settings
        Names of topics, and how long a delivery may take.
    wiring
        Codec and producer.
    """

    def __init__(self, settings: Settings, wiring: StageWiring) -> None:
        self._topics = {name: settings.topic(name) for name in TOPICS}
        self._encode = wiring.codec.encode
        self._config = {**wiring.producer_config, "linger.ms": LINGER_MS}
        self._timeout_s = settings.delivery_ms / 1000
        self._producer = CheckedProducer(self._config)
        self._waiting: defaultdict[str, list[Row]] = defaultdict(list)
        self._held = False

    def put(self, records: Iterable[Record]) -> None:
        """Have these sent with the next `send`."""
        for record in records:
            topic = self._topics[topic_of(record)]
            self._waiting[topic].append((key_of(record), self._encode(record)))

    def send(self) -> None:
        """Send what was put, unless it is held back."""
        if self._held:
            return
        for topic, rows in self._waiting.items():
            self._producer.send_all(topic, rows)
        self._waiting.clear()

    def hold(self) -> None:
        """Send what was put; hold back what comes, so that `deliver` has an end to wait for."""
        self.send()
        self._held = True

    async def deliver(self) -> None:
        """Wait until all that was sent is delivered.

        Raises
        ------
        DeliveryFailed
            Some are not: what is put after `drop` has nothing to do with them.
        """
        await self._producer.emptied(self._timeout_s)

    def release(self) -> None:
        """Send what was held back."""
        self._held = False
        self.send()

    def drop(self) -> None:
        """Forget what was held back and what was not delivered."""
        self._producer, self._held = CheckedProducer(self._config), False
        self._waiting.clear()
