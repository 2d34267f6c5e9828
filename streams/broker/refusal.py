"""What a broker denies to this user, as an error with its fix."""

from __future__ import annotations

from confluent_kafka import KafkaError

from streams.errors import RightsMissing

__all__ = ["check_rights", "denied", "is_denied"]

_DENIED = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}


def is_denied(error: KafkaError) -> bool:
    """Whether the user lacks a right, which no retry mends."""
    return error.code() in _DENIED


def check_rights(error: KafkaError) -> None:
    """Raise `RightsMissing` if that is the error."""
    if is_denied(error):
        raise denied(error)


def denied(error: KafkaError) -> RightsMissing:
    """The error with its fix."""
    return RightsMissing(
        f"Kafka denies this user a right ({error.str()}): give it those of `foremesh acl print`"
    )
