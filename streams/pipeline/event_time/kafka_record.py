"""A record as it stands on Kafka, for a flow in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from confluent_kafka import Message

from streams.adapters.avro import codec
from streams.records import Record

__all__ = ["KafkaRecord"]


@dataclass(frozen=True)
class KafkaRecord:
    """A record as it stands on Kafka; `record` raises ValueError if its bytes are none."""

    topic: str  # without the prefix
    partition: int
    offset: int
    timestamp: int  # ms, of the broker
    key: bytes | None
    value: bytes | None

    @classmethod
    def of(cls, message: Message, topic: str) -> Self:
        """The record of a message."""
        _, at_ms = message.timestamp()
        place = message.partition() or 0, message.offset() or 0
        return cls(topic, *place, at_ms, message.key(), message.value())

    @cached_property
    def record(self) -> Record:
        """The record of these bytes."""
        return codec.decode(self.value or b"")

    @property
    def readable(self) -> Record | None:
        """The record, if the bytes are one."""
        try:
            return self.record
        except codec.RecordUndecodable:
            return None
