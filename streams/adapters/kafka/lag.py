"""Lag of the consumer groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.clients import connect
from streams.adapters.kafka.control_records import without_records
from streams.adapters.kafka.groups import members
from streams.broker.answered import answered
from streams.broker.offsets import Offsets, end_offsets, first_offsets, readable_offsets
from streams.broker.questions import ANSWER_S, patiently
from streams.flow.components import POOL_GROUP
from streams.flow.declaration import FlowTopology
from streams.flow.topology import TOPOLOGY
from streams.settings import Settings

__all__ = ["GroupLag", "committed_offsets", "group_lags"]


FEW = 100  # so few may all be markers of transactions, which is found out


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """A consumer group and its lag."""

    stage: str  # or the sink, or POOL_GROUP and a pool
    members: int  # active ones
    taken: int  # up to its committed offsets, or the first ones
    records: int  # from there to the end
    held_back: int  # of these, behind the first record of a transaction that is open
    optional: bool  # runs only when asked for


@answered("run this again")
def group_lags(
    settings: Settings, topology: FlowTopology = TOPOLOGY, pools: Iterable[str] = ()
) -> list[GroupLag]:
    """The lag of the groups of the stages, of the sink and of these pools' provisioners.

    Raises
    ------
    BrokerUnreachable, RightsMissing
        No broker answers, or not in time; it denies a right.
    """
    client = connect(settings)
    groups = {**topology.groups, **{POOL_GROUP + pool: ("commands",) for pool in pools}}
    names = {settings.topic(topic) for topics in groups.values() for topic in topics}
    # In this order: what is written meanwhile is not taken for records that may not be read.
    first, last = first_offsets(client, names), end_offsets(client, names)
    readable = readable_offsets(client, names)
    starts = {
        stage: _starts(settings, client, stage, first, topics) for stage, topics in groups.items()
    }
    behind = _behind(settings, list(starts.values()), readable)
    held = [_held_back(start, readable, last) for start in starts.values()]
    return [
        GroupLag(
            stage=stage,
            members=len(members(client, settings.group(stage))),
            taken=sum(starts[stage].values()),
            records=records + held_back,
            held_back=held_back,
            optional=stage in topology.stages and topology.stages[stage].optional,
        )
        for stage, records, held_back in zip(starts, behind, held, strict=True)
    ]


def committed_offsets(client: AdminClient, group: str) -> Offsets:
    """The offsets that a group has committed.

    Its members are asked for first, which finds its coordinator: where there is none yet, as on a
    broker that is new, librdkafka's admin client answers this question with a segmentation fault.
    """
    members(client, group)
    asked = [ConsumerGroupTopicPartitions(group)]
    answer = patiently(lambda: client.list_consumer_group_offsets(asked)[group].result(ANSWER_S))
    found = answer.topic_partitions
    return {(at.topic, at.partition): at.offset for at in found if at.offset >= 0}


def _starts(
    settings: Settings, client: AdminClient, stage: str, first: Offsets, topics: Iterable[str]
) -> Offsets:
    """Where a group goes on, on each partition of its topics."""
    names = {*map(settings.topic, topics)}
    committed = committed_offsets(client, settings.group(stage))
    return {at: max(committed.get(at, 0), begin) for at, begin in first.items() if at[0] in names}


def _held_back(starts: Offsets, readable: Offsets, last: Offsets) -> int:
    """The offsets from each of `starts` on that nobody may read yet."""
    return sum(max(0, last[at] - max(begin, readable[at])) for at, begin in starts.items())


def _behind(settings: Settings, starts: Sequence[Offsets], last: Offsets) -> list[int]:
    """The offsets from each of `starts` on; none where all are those of control records."""
    behind = [
        {at: last[at] - begin for at, begin in start.items() if last[at] > begin}
        for start in starts
    ]
    few = [
        {at: start[at] for at, count in counts.items() if count <= FEW}
        for start, counts in zip(starts, behind, strict=True)
    ]
    return [
        sum(count for at, count in counts.items() if at not in empty)
        for counts, empty in zip(behind, without_records(settings, few), strict=True)
    ]
