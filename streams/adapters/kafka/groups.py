"""Who is in consumer groups."""

from __future__ import annotations

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    MemberDescription,
)

from streams.adapters.kafka.admin import ANSWER_S, patiently

__all__ = ["members", "members_if_any"]


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
