"""Where partitions begin and end."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    OffsetSpec,
)

from streams.broker.questions import ANSWER_S, patiently

__all__ = ["Offsets", "end_offsets", "first_offsets", "readable_ends", "readable_offsets"]

Offsets = dict[tuple[str, int], int]  # by topic on the broker and partition

FIRST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # theirs
END: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # theirs


def first_offsets(client: AdminClient, topics: Iterable[str]) -> Offsets:
    """The first offset of each partition; a topic that does not exist has none."""
    return patiently(lambda: _offsets(client, _partitions(client, topics), FIRST))


def end_offsets(client: AdminClient, topics: Iterable[str]) -> Offsets:
    """The end offset of each partition; a topic that does not exist has none."""
    return patiently(lambda: _offsets(client, _partitions(client, topics), END))


def readable_offsets(client: AdminClient, topics: Iterable[str]) -> Offsets:
    """The same, or the offset of the first record of a transaction that is open."""
    return patiently(lambda: readable_ends(client, _partitions(client, topics), ANSWER_S))


def readable_ends(
    client: AdminClient, places: Iterable[tuple[str, int]], timeout_s: float
) -> Offsets:
    """The end of these partitions that a reader of whole transactions can reach; asked once.

    Raises
    ------
    KafkaException, TimeoutError
        The broker refuses, or is not ready to answer; it is silent.
    """
    return _offsets(client, places, END, IsolationLevel.READ_COMMITTED, timeout_s)


def _partitions(client: AdminClient, topics: Iterable[str]) -> list[tuple[str, int]]:
    there = client.list_topics(timeout=ANSWER_S).topics
    return [(name, part) for name in topics if name in there for part in there[name].partitions]


def _offsets(
    client: AdminClient,
    places: Iterable[tuple[str, int]],
    spec: OffsetSpec,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    timeout_s: float = ANSWER_S,
) -> Offsets:
    asked = {TopicPartition(*place): spec for place in places}
    options = {"isolation_level": isolation, "request_timeout": timeout_s}
    answers = client.list_offsets(asked, **options) if asked else {}
    offsets = {(at.topic, at.partition): f.result(timeout_s).offset for at, f in answers.items()}
    if any(offset < 0 for offset in offsets.values()):  # of a broker that has just started
        raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
    return offsets
