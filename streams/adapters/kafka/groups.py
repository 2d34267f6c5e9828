"""Who is in consumer groups, and commits for those that nobody is in."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    MemberDescription,
)

from streams.broker.offsets import Offsets
from streams.broker.questions import ANSWER_S, patiently

__all__ = ["GroupInUse", "commit_for", "members", "members_if_any"]


class GroupInUse(Exception):
    """A group has members, which alone commit for it; the argument is its name."""


def members(client: AdminClient, group: str) -> list[MemberDescription]:
    """The consumers in a group; none if there is no such group."""
    return members_if_any(client, group) or []


def members_if_any(client: AdminClient, group: str) -> list[MemberDescription] | None:
    """The consumers in a group, or None if there is no such.

    One group is asked about at a time: which of several is not there, librdkafka does not say.
    """
    try:
        found = patiently(lambda: client.describe_consumer_groups([group])[group].result(ANSWER_S))
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return None
        raise
    # A broker may call a group dead that it has never had.
    return None if found.state is ConsumerGroupState.DEAD else [*found.members]


def commit_for(client: AdminClient, wanted: Mapping[str, Offsets]) -> None:
    """Commit these offsets for these groups, at once.

    Raises
    ------
    GroupInUse, KafkaException
        Not all is committed: a group has members; the broker refuses, or is silent.
    """

    def commit() -> None:
        answers = [client.alter_consumer_group_offsets([_asked(*one)]) for one in wanted.items()]
        for answer in answers:
            for group, future in answer.items():
                _check(group, future)

    patiently(commit)


def _asked(group: str, offsets: Offsets) -> ConsumerGroupTopicPartitions:
    wanted = [TopicPartition(*at, offset) for at, offset in offsets.items()]
    return ConsumerGroupTopicPartitions(group, wanted)


def _check(group: str, answer: Future[Any]) -> None:
    """Raise what a broker says of a commit, which it says of each partition."""
    for at in answer.result(ANSWER_S).topic_partitions:
        if at.error is None:
            continue
        if at.error.code() == KafkaError.UNKNOWN_MEMBER_ID:
            raise GroupInUse(group)
        raise KafkaException(at.error)
