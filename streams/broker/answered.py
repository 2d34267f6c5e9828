"""What Kafka does not do, or not in time, as an error for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException

from streams.broker.refusal import check_rights
from streams.errors import BrokerUnreachable

__all__ = ["answered"]


@contextmanager
def answered(fix: str) -> Iterator[None]:
    """Raise what the client says of a question that Kafka did not answer as an error with its fix.

    Raises
    ------
    BrokerUnreachable, RightsMissing
        Kafka refuses, or is silent; it denies this user a right.
    """
    try:
        yield
    except KafkaException as error:
        check_rights(error.args[0])
        raise BrokerUnreachable(
            f"Kafka does not do as asked ({error.args[0].str()}): {fix}"
        ) from error
    except TimeoutError as error:
        raise BrokerUnreachable(f"Kafka does not answer in time: {fix}") from error
