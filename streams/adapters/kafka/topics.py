"""The topics of the flow on a broker: created, and checked against their declaration."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streams.adapters.kafka.clients import MAX_MESSAGE_BYTES, connect
from streams.adapters.kafka.emptying import EMPTIED
from streams.broker.answered import answered
from streams.broker.offsets import end_offsets
from streams.broker.questions import ANSWER_S
from streams.broker.refusal import is_denied
from streams.errors import TopicsMissing
from streams.flow.declaration import FlowTopology
from streams.flow.topology import TOPOLOGY, changelog
from streams.settings import Settings

__all__ = ["TopicFault", "TopicState", "check_topics", "create_topics", "declared"]

# Event time is a field of the record; the timestamp is the broker's. With the producer's one, a
# replayed log would expire on arrival.
_EVERY = {
    "cleanup.policy": "delete",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "message.timestamp.type": "LogAppendTime",
}
# Compacted only (a changelog that also expires loses state), and soon, so that the time to read
# one whole depends on the number of its keys.
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


@dataclass(frozen=True, slots=True)
class TopicFault:
    """What is wrong with a topic, and what to do; several topics may have the same fault."""

    verb: str  # one of `PLURAL`
    what: str
    fix: str

    def told(self, names: Sequence[str]) -> str:
        """The sentence about these topics."""
        if len(names) == 1:
            return f"topic {names[0]} {self.verb} {self.what}: {self.fix}"
        which = ", ".join(names)
        return f"{len(names)} topics {PLURAL[self.verb]} {self.what}: {self.fix} ({which})"


AGAIN = "run this again"
PLURAL = {"has": "have", "is": "are", "may": "may"}


def declared(settings: Settings, topology: FlowTopology = TOPOLOGY) -> dict[str, dict[str, str]]:
    """The name on the broker and the configuration of every topic and changelog."""
    shared = {"min.insync.replicas": str(max(1, settings.replication - 1))}
    topics = {
        settings.topic(topic.name): {**(_COMPACTED if topic.compacted else _EVERY), **shared}
        for topic in topology.topics.values()
    }
    logs = {settings.topic(changelog(stage)): {**_COMPACTED, **shared} for stage in topology.stages}
    return topics | logs


@answered(AGAIN)
def create_topics(settings: Settings, topology: FlowTopology = TOPOLOGY) -> list[TopicState]:
    """Create the missing topics; existing ones stay as they are.

    Raises
    ------
    BrokerUnreachable, RightsMissing, TopicsMissing
        No broker answers, or not in time; it denies a right, or refused a topic.
    """
    client = connect(settings)
    new = [
        NewTopic(name, settings.partitions, settings.replication, config=config)
        for name, config in declared(settings, topology).items()
    ]
    futures = client.create_topics(new, request_timeout=ANSWER_S)
    created = {name for name, future in futures.items() if _was_created(name, future)}
    counts = _served(client, set(futures))
    return [
        TopicState(name=name, partitions=counts[name], created=name in created) for name in futures
    ]


@answered(AGAIN)
def check_topics(settings: Settings, only: Iterable[str] | None = None) -> list[str]:
    """Deviations from what is declared, a sentence for each kind with its fix; empty without any.

    Parameters
    ----------
    only
        Look at these topics and changelogs (without prefix); None: at all.

    Raises
    ------
    BrokerUnreachable, RightsMissing
        No broker answers, or not in time; it denies a right.
    """
    client = connect(settings)
    there = client.list_topics(timeout=ANSWER_S).topics
    names = declared(settings)
    if only is not None:
        names = {name: names[name] for name in map(settings.topic, only)}
    found = {name: len(there[name].partitions) for name in names if name in there}
    return _told(
        chain(
            _missing(client, [name for name in names if name not in there]),
            _miscounted(found, settings.partitions),
            _misconfigured(client, {name: names[name] for name in found}),
        )
    )


def _told(faults: Iterable[tuple[str, TopicFault]]) -> list[str]:
    """A sentence for each fault, however many topics have it."""
    alike: dict[TopicFault, list[str]] = {}
    for name, fault in faults:
        alike.setdefault(fault, []).append(name)
    return [fault.told(names) for fault, names in alike.items()]


def _miscounted(found: Mapping[str, int], wanted: int) -> Iterator[tuple[str, TopicFault]]:
    fix = "set FOREMESH_PARTITIONS to what all topics have, or delete and create anew those that differ"
    for name, count in found.items():
        if count != wanted:
            noun = "partition" if count == 1 else "partitions"
            yield name, TopicFault("has", f"{count} {noun}, not {wanted}", fix)


def _missing(client: AdminClient, names: list[str]) -> Iterator[tuple[str, TopicFault]]:
    """Why the broker does not list these topics: they are not there, or not for this user."""
    if not names:
        return
    asked = client.describe_topics(TopicCollection(names), request_timeout=ANSWER_S)
    for name, future in asked.items():
        error = future.exception(ANSWER_S)
        reason = error.args[0].code() if isinstance(error, KafkaException) else None
        if reason == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            fix = "give the rights of `foremesh acl print`"
            yield name, TopicFault("may", "not be described", fix)
        else:
            yield name, TopicFault("is", "missing", "run `foremesh topics create`")


def _was_created(name: str, future: Future[None]) -> bool:
    try:
        future.result(ANSWER_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise TopicsMissing(f"Kafka refused topic {name}: {error.args[0].str()}") from error
    return True


def _served(client: AdminClient, names: set[str]) -> dict[str, int]:
    """Partitions of each topic, once all have a leader that answers with their end offsets."""
    deadline = time.monotonic() + ANSWER_S
    while names - client.list_topics(timeout=ANSWER_S).topics.keys():
        if time.monotonic() > deadline:
            raise TopicsMissing(f"created topics were not there after {ANSWER_S:.0f} s")
        time.sleep(0.05)
    return dict(Counter(topic for topic, _ in end_offsets(client, names)))


def _misconfigured(
    client: AdminClient, wanted: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, TopicFault]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in wanted]
    if not resources:
        return
    answers = client.describe_configs(resources, request_timeout=ANSWER_S)
    for resource, future in answers.items():
        have = _configuration(resource.name, future)
        for key in _EVERY:  # the others may be tuned
            want = wanted[resource.name][key]
            if not _serves(key, have[key], want):
                fix = (
                    "a `foremesh reset` was interrupted, run it again"
                    if have[key] == EMPTIED
                    else f"set it with kafka-configs --alter --add-config {key}={want}"
                )
                yield resource.name, TopicFault("has", f"{key}={have[key]}, not {want}", fix)


def _configuration(name: str, future: Future[dict[str, ConfigEntry]]) -> Mapping[str, str]:
    try:
        return {key: entry.value or "" for key, entry in future.result(ANSWER_S).items()}
    except KafkaException as error:
        if not is_denied(error.args[0]):
            raise
        raise TopicsMissing(
            f"the configuration of topic {name} cannot be read ({error.args[0].str()}):"
            " give the rights of `foremesh acl print`"
        ) from error


def _serves(key: str, have: str, want: str) -> bool:
    return int(have) >= int(want) if key == "max.message.bytes" else have == want
