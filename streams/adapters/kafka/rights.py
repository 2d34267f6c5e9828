"""The rights that a component needs on Kafka, and nothing more: what `foremesh acl print` prints."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from streams.flow.components import READER_GROUP, KafkaComponent
from streams.settings import Settings

__all__ = ["KafkaResource", "KafkaRight", "acl_commands", "rights_of"]

_DESCRIBING = {"Read", "Write", "Delete"}  # who may do these may describe


class KafkaResource(StrEnum):
    """What a right is on, as an option of `kafka-acls`."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTION = "transactional-id"


class KafkaRight(NamedTuple):
    """One operation on one resource; who may read, write or delete may describe."""

    resource: KafkaResource
    name: str  # on the broker
    operation: str  # as `kafka-acls` spells it
    prefixed: bool = False  # of all names that begin with this one

    @property
    def pattern(self) -> str:
        """The type of its pattern, as `kafka-acls` spells it."""
        return "prefixed" if self.prefixed else "literal"


def rights_of(component: KafkaComponent, settings: Settings) -> list[KafkaRight]:
    """The rights that a component needs, in order.

    None is on the cluster: since Kafka 3 the right to write to a topic is enough for an idempotent
    producer, and topics are created one by one.
    """
    found = {*_on_topics(component, settings), *_on_groups(component, settings)}
    found |= {*_on_transactions(component, settings)}
    granted = {right[:2] for right in found if right.operation in _DESCRIBING}
    return sorted(
        right for right in found if right.operation != "Describe" or right[:2] not in granted
    )


def acl_commands(principal: str, rights: Iterable[KafkaRight], servers: str) -> Iterator[str]:
    """The calls of `kafka-acls` that give a principal these rights, a line each."""
    together: defaultdict[tuple[KafkaResource, bool, str], list[str]] = defaultdict(list)
    for right in rights:
        together[right.resource, right.prefixed, right.operation].append(right.name)
    for (resource, prefixed, operation), names in together.items():
        words = ["kafka-acls", "--bootstrap-server", servers, "--add"]
        words += ["--allow-principal", principal, "--operation", operation]
        words += ["--resource-pattern-type", "prefixed"] if prefixed else []
        words += [word for name in names for word in (f"--{resource}", name)]
        yield shlex.join(words)


def _on_topics(component: KafkaComponent, settings: Settings) -> Iterator[KafkaRight]:
    wanted = {
        "Read": (*component.reads, *component.views),
        "Write": component.writes,
        "Create": component.creates,
        "Describe": component.checks,
        "DescribeConfigs": component.checks,
        "Delete": component.empties,
        "AlterConfigs": component.resets,
    }
    for operation, names in wanted.items():
        for name in names:
            yield KafkaRight(KafkaResource.TOPIC, settings.topic(name), operation)


def _on_groups(component: KafkaComponent, settings: Settings) -> Iterator[KafkaRight]:
    for name in component.groups:
        yield KafkaRight(KafkaResource.GROUP, settings.group(name), "Read")
    for name in component.group_prefixes:
        yield KafkaRight(KafkaResource.GROUP, settings.group(name), "Read", prefixed=True)
    for name in component.forgets:
        yield KafkaRight(KafkaResource.GROUP, settings.group(name), "Delete")
    for name in component.forgets_prefixes:
        yield KafkaRight(KafkaResource.GROUP, settings.group(name), "Delete", prefixed=True)
    for name in component.asks_groups:
        yield KafkaRight(KafkaResource.GROUP, settings.group(name), "Describe")
    for name in component.asks_group_prefixes:
        yield KafkaRight(KafkaResource.GROUP, settings.group(name), "Describe", prefixed=True)
    if component.views:
        yield KafkaRight(KafkaResource.GROUP, READER_GROUP, "Describe")


def _on_transactions(component: KafkaComponent, settings: Settings) -> Iterator[KafkaRight]:
    for name in component.transactions:
        yield KafkaRight(KafkaResource.TRANSACTION, settings.group(name), "Write")
    for name in component.transaction_prefixes:
        yield KafkaRight(KafkaResource.TRANSACTION, f"{settings.group(name)}-", "Write", True)
