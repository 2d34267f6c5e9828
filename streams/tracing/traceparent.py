"""What of a record its span is made of: its place, and the header that carries a trace over Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Message

__all__ = ["TRACEPARENT", "RecordHeaders", "RecordPlace", "place_of", "traceparent_of"]

TRACEPARENT = "traceparent"  # as W3C has it

RecordHeaders = Sequence[tuple[str, bytes]]


def traceparent_of(headers: Iterable[tuple[str, object]] | Mapping[str, object] | None) -> bytes:
    """The value of the header among a record's; empty where there is none."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    for name, value in pairs:
        if name == TRACEPARENT and isinstance(value, bytes):
            return value
    return b""


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record stands on Kafka."""

    topic: str  # on the broker
    partition: int
    offset: int
    group: str = ""  # consumer group that has read it

    @property
    def attributes(self) -> dict[str, str | int]:
        """As OpenTelemetry's conventions for messaging name them."""
        found: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.name": self.topic,
            "messaging.destination.partition.id": str(self.partition),
            "messaging.kafka.offset": self.offset,
        }
        return found | ({"messaging.consumer.group.name": self.group} if self.group else {})


def place_of(message: Message, group: str) -> RecordPlace:
    """The place of a message, as this group has read it."""
    topic, partition, offset = (
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
    )
    return RecordPlace(topic, partition, offset, group)
