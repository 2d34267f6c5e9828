"""Questions to a Kafka broker, retried while it loads what they are about."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streams.errors import BrokerUnreachable

__all__ = ["ANSWER_S", "connected", "patiently"]

_log = logging.getLogger(__name__)

ANSWER_S = 30.0

# Errors of a broker that has yet to load the partition or group.
_LOADING = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}

# Fixes of errors other than a wrong address.
_FIXES = {
    KafkaError._AUTHENTICATION: "set FOREMESH_KAFKA_USERNAME and FOREMESH_KAFKA_PASSWORD",  # noqa: SLF001  # its public name
    KafkaError._SSL: "set FOREMESH_KAFKA_SSL_CA to the certificates to trust",  # noqa: SLF001
}

_FIRST_TRY_S = 1.0  # timeout of the first attempt to connect, doubled at each retry
_LONG_S = 10.0  # a longer wait is told

T = TypeVar("T")


def connected(config: Mapping[str, Any], timeout_s: float) -> AdminClient:
    """An admin client whose broker has answered.

    Raises
    ------
    BrokerUnreachable
        None answered within `timeout_s` seconds; the message has the address and the fix.
    """
    errors: list[KafkaError] = []
    silent: dict[str, Any] = {"error_cb": errors.append, "log_level": 0}
    client = AdminClient({**config, **silent})
    deadline, wait_s = time.monotonic() + timeout_s, _FIRST_TRY_S
    while True:
        left_s = deadline - time.monotonic()
        try:
            client.list_topics(timeout=max(0.0, min(left_s, wait_s)))
        except KafkaException as error:
            client.poll(0)  # calls `error_cb`
            fixable = next((e for e in errors if e.code() in _FIXES), None)
            if fixable or left_s <= wait_s:
                cause = fixable or (errors or [error.args[0]])[-1]
                raise _unreachable(config, cause) from error
            if wait_s == _FIRST_TRY_S and left_s > _LONG_S:
                _log.warning(
                    "No Kafka broker has answered at %s yet; it is asked for %.0f s more",
                    config["bootstrap.servers"], left_s - wait_s, extra={"action": "kafka_asked"},
                )  # fmt: skip
            wait_s *= 2
        else:
            return client


def _unreachable(config: Mapping[str, Any], why: KafkaError) -> BrokerUnreachable:
    fix = _FIXES.get(why.code(), "set FOREMESH_KAFKA to its host:port, or run `foremesh up`")
    servers = config["bootstrap.servers"]
    return BrokerUnreachable(f"No Kafka broker answers at {servers} ({why.str()}): {fix}")


def patiently(ask: Callable[[], T], also: Collection[int] = ()) -> T:
    """The answer, asked for again while the broker loads what the question is about.

    Parameters
    ----------
    ask
        Raises KafkaException.
    also
        Codes of further errors that pass.
    """
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in {*_LOADING, *also} or time.monotonic() > deadline:
                raise
        time.sleep(0.05)
