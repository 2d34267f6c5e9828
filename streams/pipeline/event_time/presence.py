"""Lets others see that a flow in event time runs: it is a member of its group, and reads nothing there."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

from streams.adapters.kafka.clients import consumer_config
from streams.flow.components import EVENT_TIME
from streams.settings import Settings

__all__ = ["GroupPresence"]


class GroupPresence:
    """A member of the group of workers in event time, for as long as `show` is called.

    Such a worker assigns its partitions itself, whoever else there is: the latest one goes on.
    """

    def __init__(self, settings: Settings) -> None:
        self._consumer = Consumer(consumer_config(settings, settings.group(EVENT_TIME)))
        self._consumer.subscribe([settings.topic("requests")], on_assign=_read_nothing)

    def show(self) -> None:
        """Stay a member."""
        self._consumer.poll(0)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()


def _read_nothing(consumer: Consumer, partitions: list[TopicPartition]) -> None:
    consumer.assign(partitions)
    consumer.pause(partitions)
