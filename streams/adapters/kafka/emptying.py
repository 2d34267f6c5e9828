"""Empties topics and forgets groups; the topics stay, with their partitions, settings and rights.

What Kafka does not do, or not in time, is raised as the client says it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streams.adapters.kafka.groups import members_if_any
from streams.broker.offsets import end_offsets, first_offsets
from streams.broker.questions import ANSWER_S, patiently
from streams.errors import StageRuns

__all__ = [
    "EMPTIED",
    "are_emptied",
    "as_compacted",
    "as_emptied",
    "empty_topics",
    "forget_groups",
    "held_offsets",
    "members_of",
]

EMPTIED = "compact,delete"  # the policy of a compacted topic while it is being emptied


def held_offsets(client: AdminClient, topics: Collection[str]) -> dict[str, int]:
    """How many offsets each topic holds, markers of transactions included; of those that exist."""
    first, held = first_offsets(client, topics), dict[str, int]()
    for at, end in end_offsets(client, topics).items():
        held[at[0]] = held.get(at[0], 0) + end - first.get(at, 0)
    return held


def members_of(client: AdminClient, groups: Iterable[str]) -> dict[str, list[str]]:
    """The hosts of each group's members, of the groups that exist."""
    found: dict[str, list[str]] = {}
    for group in groups:
        there = members_if_any(client, group)
        if there is not None:
            found[group] = sorted(member.host.lstrip("/") for member in there)
    return found


def forget_groups(client: AdminClient, groups: Collection[str]) -> None:
    """Delete groups with their offsets; the broker refuses where one has members.

    Raises
    ------
    StageRuns
        A group has members.
    """
    asked = client.delete_consumer_groups(list(groups), request_timeout=ANSWER_S) if groups else {}
    for group, future in asked.items():
        try:
            future.result(ANSWER_S)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.NON_EMPTY_GROUP:
                raise StageRuns(
                    f"Group {group} cannot be forgotten ({error.args[0].str()}): end its members,"
                    " wait a moment if one was killed, and run this again"
                ) from error
            if code != KafkaError.GROUP_ID_NOT_FOUND:
                raise


def as_emptied(client: AdminClient, topics: Collection[str]) -> None:
    """Let compacted topics be emptied; until `as_compacted` no worker starts on them."""
    _set_policy(client, topics, EMPTIED)


def as_compacted(client: AdminClient, topics: Collection[str]) -> None:
    """Make them compacted topics again."""
    _set_policy(client, topics, "compact")


def are_emptied(client: AdminClient, topics: Collection[str]) -> bool:
    """Whether one is between `as_emptied` and `as_compacted`."""
    asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    answers = client.describe_configs(asked, request_timeout=ANSWER_S) if asked else {}
    found = [future.result(ANSWER_S)["cleanup.policy"].value for future in answers.values()]
    return EMPTIED in found


def empty_topics(client: AdminClient, topics: Collection[str]) -> None:
    """Delete the records of topics; offsets go on from where they were."""
    # A broker hears a little later that a topic is no longer compacted alone.
    patiently(lambda: _empty(client, topics), {KafkaError.POLICY_VIOLATION})


def _empty(client: AdminClient, topics: Collection[str]) -> None:
    wanted = [TopicPartition(*at, end) for at, end in end_offsets(client, topics).items()]
    asked = client.delete_records(wanted, request_timeout=ANSWER_S) if wanted else {}
    for future in asked.values():
        future.result(ANSWER_S)


def _set_policy(client: AdminClient, topics: Collection[str], policy: str) -> None:
    change = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    wanted = [
        ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change]) for topic in topics
    ]
    asked: Mapping[Any, Future[Any]] = (
        client.incremental_alter_configs(wanted, request_timeout=ANSWER_S) if wanted else {}
    )
    for future in asked.values():
        future.result(ANSWER_S)
