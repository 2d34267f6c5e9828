"""Lets others see that a flow in event time runs: it is a member of its group, and reads nothing there."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.adapters.kafka.clients import connect, consumer_config
from streams.adapters.kafka.groups import members
from streams.broker.questions import ANSWER_S
from streams.broker.refusal import check_rights
from streams.errors import BrokerUnreachable
from streams.flow.components import EVENT_TIME
from streams.settings import Settings

__all__ = ["GroupPresence", "is_present"]

UNSEEN_MS = 86_400_000  # longest time without `show`, Kafka's limit: loading may take long
POLL_S = 0.05


class GroupPresence:
    """A member of the group of workers in event time, from `enter` to `close`.

    Such a worker assigns its partitions itself, whoever else there is: the latest one goes on.
    """

    def __init__(self, settings: Settings) -> None:
        self._group = settings.group(EVENT_TIME)
        self._admin = connect(settings)
        config = consumer_config(settings, self._group)
        self._consumer = Consumer({**config, "max.poll.interval.ms": UNSEEN_MS})
        self._consumer.subscribe([settings.topic("requests")], on_assign=_read_nothing)

    def enter(self) -> None:
        """Return once others see it; no partitions are waited for, which others may still hold.

        Raises
        ------
        BrokerUnreachable, RightsMissing
            The group does not take it in time; it is not for this user.
        """
        deadline, why = time.monotonic() + ANSWER_S, "no answer"
        while self._consumer.memberid() not in self._seen():
            if time.monotonic() > deadline:
                raise BrokerUnreachable(f"Kafka takes no member into group {self._group}: {why}")
            if (said := self._consumer.poll(POLL_S)) and (error := said.error()):
                check_rights(error)
                why = error.str()

    def show(self) -> None:
        """Stay a member."""
        self._consumer.poll(0)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _seen(self) -> set[str]:
        return {member.member_id for member in members(self._admin, self._group)}


def is_present(settings: Settings) -> bool:
    """Whether a worker in event time is seen; none is by who may not ask."""
    try:
        return bool(members(connect(settings), settings.group(EVENT_TIME)))
    except (KafkaException, BrokerUnreachable, TimeoutError):
        return False


def _read_nothing(consumer: Consumer, partitions: list[TopicPartition]) -> None:
    consumer.assign(partitions)
    consumer.pause(partitions)
