"""Configuration of the Kafka clients of both libraries, and the commit of a consumer's offsets."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.broker.questions import ANSWER_S, connected
from streams.errors import SettingInvalid
from streams.flow.components import READER_GROUP
from streams.settings import Settings

__all__ = [
    "MAX_MESSAGE_BYTES",
    "client_config",
    "client_here",
    "commit_read",
    "connect",
    "consumer_config",
    "faust_broker_options",
    "producer_config",
    "reader_config",
]

_log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 3 * 1024 * 1024  # a dead letter holds a record of 1 MiB, and more


def client_config(settings: Settings) -> dict[str, Any]:
    """Configuration of every librdkafka client: servers and security.

    Raises
    ------
    SettingInvalid
        A certificate cannot be read.
    """
    if settings.kafka_security_protocol.endswith("SSL"):
        _ssl_context(settings)  # else each client has an error of its own, which names no setting
    given = {
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_username,
        "sasl.password": settings.kafka_password,
        "ssl.ca.location": settings.kafka_ssl_ca,
        "ssl.certificate.location": settings.kafka_ssl_certificate,
        "ssl.key.location": settings.kafka_ssl_key,
    }
    return {
        "bootstrap.servers": settings.kafka,
        "log_level": 2,  # librdkafka tells of every attempt to connect; see `broker_watch`
        **{key: value for key, value in given.items() if value},
    }


def producer_config(settings: Settings) -> dict[str, Any]:
    """Configuration of an idempotent producer that partitions as Java's clients do."""
    return {
        **client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",  # librdkafka's own would break co-partitioning
        "delivery.timeout.ms": settings.delivery_ms,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "linger.ms": 5,
    }


def consumer_config(settings: Settings, group: str) -> dict[str, Any]:
    """Configuration of a consumer of the group with id `group`; offsets are committed by hand."""
    return {
        **client_config(settings),
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": settings.session_ms,
        "heartbeat.interval.ms": max(settings.session_ms // 3, 1),
    }


def reader_config(settings: Settings) -> dict[str, Any]:
    """Configuration of a consumer that assigns partitions itself and reads each to its end.

    An empty fetch tells the end, and what is assigned next waits for it.
    """
    return {
        **client_config(settings),
        "group.id": READER_GROUP,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,
    }


def faust_broker_options(settings: Settings) -> dict[str, Any]:
    """Options of `faust.App` with the same credentials; empty without security."""
    from faust.auth import SASLCredentials, SSLCredentials  # noqa: PLC0415  # faust loads slowly

    protocol = settings.kafka_security_protocol
    context = _ssl_context(settings) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL_"):
        credentials = SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password,
            ssl_context=context,
            mechanism=settings.kafka_sasl_mechanism or "PLAIN",
        )
        return {"broker_credentials": credentials}
    return {} if context is None else {"broker_credentials": SSLCredentials(context)}


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    certificate, key = settings.kafka_ssl_certificate, settings.kafka_ssl_key
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_ca or None)
        if certificate:
            context.load_cert_chain(certificate, key or None)
    except OSError as error:
        raise SettingInvalid(
            f"FOREMESH_KAFKA_SSL_CA, _CERTIFICATE or _KEY cannot be used: {error}"
        ) from error
    return context


def connect(settings: Settings, timeout_s: float = ANSWER_S) -> AdminClient:
    """An admin client whose broker has answered; raises `BrokerUnreachable`."""
    return connected(client_config(settings), timeout_s)


def client_here() -> str:
    """A client's name that tells on which machine it runs."""
    return f"foremesh-{socket.gethostname()}"


def commit_read(consumer: Consumer, messages: Iterable[Message]) -> None:
    """Commit the offsets after these records; what was not committed is logged.

    It fails when the partitions were revoked, or are being assigned again after an outage; of some
    partitions alone, when the group may not read their topic any more. The records are then read
    again, so that their effects must be idempotent. The offsets are named, since librdkafka commits
    none that is before an earlier one, as on a topic that was made anew.
    """
    last = {(m.topic() or "", m.partition() or 0): m.offset() or 0 for m in messages}
    offsets = [TopicPartition(*place, offset + 1) for place, offset in last.items()]
    try:
        committed = consumer.commit(offsets=offsets, asynchronous=False) or ()
    except KafkaException as error:
        failed = {str(error)}
    else:
        failed = {f"{at.topic}[{at.partition}]: {at.error}" for at in committed if at.error}
    if failed:
        why = ", ".join(sorted(failed))
        _log.warning("offsets not committed: %s", why, extra={"action": "commit_failed"})
