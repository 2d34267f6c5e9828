"""Kafka: what its two clients are told, and the topics that must be there."""

from __future__ import annotations

import logging
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streams.adapters.kafka_admin import ANSWER_S, connected, end_offsets
from streams.errors import SettingInvalid, TopicsMissing
from streams.flow.topology import STAGES, TOPICS, changelog
from streams.settings import Settings

__all__ = [
    "MAX_MESSAGE_BYTES",
    "TopicState",
    "check_topics",
    "client_config",
    "commit",
    "connect",
    "consumer_config",
    "create_topics",
    "declared",
    "faust_broker_options",
    "producer_config",
]

_log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 3 * 1024 * 1024  # a dead letter holds a record of 1 MiB, and more

# Time is event time and stands in the record; the timestamp says when the broker took it. With
# the producer's timestamp, a recorded log would expire on arrival.
_EVERY = {
    "cleanup.policy": "delete",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "message.timestamp.type": "LogAppendTime",
}
# Compacted only (a changelog that also expires loses state), and soon, so that reading one whole
# takes as long as its keys are many.
_COMPACTED = {
    **_EVERY,
    "cleanup.policy": "compact",
    "segment.ms": "60000",
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": "3600000",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """A topic as it is after `create_topics`."""

    name: str  # on the broker, with the prefix
    partitions: int
    created: bool  # by this call; otherwise it was there


# --------------------------------------------------------------------------- clients


def client_config(settings: Settings) -> dict[str, Any]:
    """What every librdkafka client is told: servers and security."""
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
        **{key: value for key, value in given.items() if value},
    }


def producer_config(settings: Settings) -> dict[str, Any]:
    """A producer that repeats nothing, loses nothing and partitions as Java's clients do."""
    return {
        **client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",  # librdkafka's own would break co-partitioning
        "delivery.timeout.ms": settings.delivery_ms,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "linger.ms": 5,
        "log_level": 3,  # errors: what librdkafka tries again, as a new broker's first answer, is none
    }


def consumer_config(settings: Settings, group: str) -> dict[str, Any]:
    """A consumer of the group whose id is `group`; it commits only when told to."""
    return {
        **client_config(settings),
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": settings.session_ms,
        "heartbeat.interval.ms": max(settings.session_ms // 3, 1),
    }


def faust_broker_options(settings: Settings) -> dict[str, Any]:
    """The options of `faust.App` with the same credentials; none without security."""
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


# --------------------------------------------------------------------------- topics


def declared(settings: Settings) -> dict[str, dict[str, str]]:
    """The name on the broker and the configuration of every topic and changelog."""
    shared = {"min.insync.replicas": str(max(1, settings.replication - 1))}
    topics = {
        settings.topic(topic.name): {**(_COMPACTED if topic.compacted else _EVERY), **shared}
        for topic in TOPICS.values()
    }
    logs = {settings.topic(changelog(stage)): {**_COMPACTED, **shared} for stage in STAGES}
    return topics | logs


def create_topics(settings: Settings) -> list[TopicState]:
    """Create the topics that are missing; those that are there stay as they are.

    Raises
    ------
    BrokerUnreachable, TopicsMissing
        No broker answers; it refused a topic, or did not finish in time.
    """
    client = connect(settings)
    new = [
        NewTopic(name, settings.partitions, settings.replication, config=config)
        for name, config in declared(settings).items()
    ]
    futures = client.create_topics(new, request_timeout=ANSWER_S)
    created = {name for name, future in futures.items() if _was_created(name, future)}
    counts = _served(client, set(futures))
    return [
        TopicState(name=name, partitions=counts[name], created=name in created) for name in futures
    ]


def check_topics(settings: Settings) -> list[str]:
    """What is not as declared, a sentence each with its fix; empty when all is well."""
    client = connect(settings)
    there = client.list_topics(timeout=ANSWER_S).topics
    names = declared(settings)
    missing = [name for name in names if name not in there]
    found = {name: len(there[name].partitions) for name in names if name in there}
    problems = [f"topic {name} is missing: run `foremesh topics create`" for name in missing]
    problems += [
        f"topic {name} has {count} partitions, not {settings.partitions}: set "
        "FOREMESH_PARTITIONS to what all topics have, or delete the topic and create it again"
        for name, count in found.items()
        if count != settings.partitions
    ]
    return problems + list(_config_problems(client, {name: names[name] for name in found}))


def _was_created(name: str, future: Future[None]) -> bool:
    try:
        future.result(ANSWER_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise TopicsMissing(f"Kafka refused topic {name}: {error.args[0].str()}") from error
    return True


def _served(client: AdminClient, names: set[str]) -> dict[str, int]:
    """Partitions of each topic, once every one is served: its leader says where it ends."""
    deadline = time.monotonic() + ANSWER_S
    while names - client.list_topics(timeout=ANSWER_S).topics.keys():
        if time.monotonic() > deadline:
            raise TopicsMissing(f"created topics were not there after {ANSWER_S:.0f} s")
        time.sleep(0.05)
    return dict(Counter(topic for topic, _ in end_offsets(client, names)))


def _config_problems(client: AdminClient, wanted: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in wanted]
    if not resources:
        return
    answers = client.describe_configs(resources, request_timeout=ANSWER_S)
    for resource, future in answers.items():
        have = future.result(ANSWER_S)
        for key in _EVERY:  # the rest may be tuned
            want = wanted[resource.name][key]
            if not _serves(key, have[key].value, want):
                yield (
                    f"topic {resource.name} has {key}={have[key].value}, not {want}: "
                    f"set it with kafka-configs --alter --add-config {key}={want}"
                )


def _serves(key: str, have: str, want: str) -> bool:
    return int(have) >= int(want) if key == "max.message.bytes" else have == want


def commit(consumer: Consumer, offsets: list[TopicPartition] | None = None) -> bool:
    """Commit what was read, or these offsets; whether that was done.

    It is not when the partitions have gone to another consumer, or are about to come back to this
    one after Kafka was away: what was read is read again then, so its effects must be idempotent.
    """
    try:
        if offsets is None:
            consumer.commit(asynchronous=False)
        else:
            consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        _log.warning("offsets not committed: %s", error, extra={"action": "commit_failed"})
        return False
    return True
