"""The output records of a stage, on their way to Kafka."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from streams.engine.producer import CheckedProducer, Row
from streams.engine.stage_wiring import StageWiring
from streams.flow.topology import TOPICS, key_of, topic_of
from streams.records import Record
from streams.settings import Settings

__all__ = ["Output", "OutputTooLarge", "StageOutbox", "bounded"]

LINGER_MS = 1  # records are sent in batches already
MOST_BYTES = 1 << 20  # of an output's value

Output = tuple[str, Row]  # the topic's name on the broker; key and value


class OutputTooLarge(ValueError):
    """An output has more bytes than one may have."""


def bounded(encode: Callable[[Record], bytes], record: Record) -> bytes:
    """The bytes of an output; raises `OutputTooLarge`, or whatever `encode` raises."""
    value = encode(record)
    if len(value) > MOST_BYTES:
        raise OutputTooLarge(f"{type(record).__name__} of {len(value)} bytes, over {MOST_BYTES}")
    return value


class StageOutbox:
    """Packs output records, buffers them, sends them, and holds them back during a checkpoint.

    Parameters
    ----------
    settings
        Names of topics, and the delivery timeout.
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

    def pack(self, record: Record) -> Output:
        """Where a record goes, its key and its bytes.

        Raises
        ------
        OutputTooLarge, or whatever `encode` raises
            It cannot be sent.
        """
        return self._topics[topic_of(record)], (key_of(record), bounded(self._encode, record))

    def put(self, outputs: Iterable[Output]) -> None:
        """Buffer these for the next `send`."""
        for topic, row in outputs:
            self._waiting[topic].append(row)

    def send(self) -> None:
        """Send the buffered records, unless they are held back."""
        if self._held:
            return
        for topic, rows in self._waiting.items():
            self._producer.send_all(topic, rows)
        self._waiting.clear()

    def hold(self) -> None:
        """Send the buffered records and hold back later ones, so that `deliver` can finish."""
        self.send()
        self._held = True

    async def deliver(self) -> None:
        """Wait until every record that was sent is delivered.

        Raises
        ------
        DeliveryFailed
            Some are not. Call `drop` before anything else is put.
        """
        await self._producer.flush_async(self._timeout_s)

    def release(self) -> None:
        """Send the records that were held back."""
        self._held = False
        self.send()

    def drop(self) -> None:
        """Discard the records held back and those not delivered."""
        self._producer, self._held = CheckedProducer(self._config), False
        self._waiting.clear()
