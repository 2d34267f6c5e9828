"""The records that dead letters tell of, fetched from their places."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.adapters.kafka.clients import reader_config
from streams.errors import BrokerUnreachable
from streams.settings import Settings

__all__ = ["OriginalReader"]

ANSWER_S = 30.0
NOT_THERE = {
    KafkaError._PARTITION_EOF,  # noqa: SLF001  # its public name
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001
}


class OriginalReader:
    """Reads single records by topic, partition and offset; joins no group."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = Consumer({**reader_config(settings), "auto.offset.reset": "error"})

    def at(self, topic: str, partition: int, offset: int) -> Message | None:
        """The record at a place of a topic (without prefix); None if it is not there any more.

        Raises
        ------
        BrokerUnreachable
            Kafka does not answer for half a minute.
        """
        name, deadline = self._settings.topic(topic), time.monotonic() + ANSWER_S
        self._consumer.assign([TopicPartition(name, partition, offset)])
        while (message := self._consumer.poll(0.5)) is None:
            if time.monotonic() > deadline:
                raise BrokerUnreachable(f"Kafka sent nothing for {ANSWER_S:.0f} s")
        error = message.error()
        if error is None:
            return message if message.offset() == offset else None
        if error.code() in NOT_THERE:
            return None
        raise BrokerUnreachable(f"{name} cannot be read: {error.str()}") from KafkaException(error)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
