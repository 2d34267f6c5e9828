"""The flow as data: one row per topic and stage, one registration per kind of record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from streams.records import (
    ColdStart,
    Command,
    DeadLetter,
    Demand,
    Feedback,
    Instance,
    Outcome,
    Prediction,
    Record,
    Request,
    Utilisation,
    Watermark,
)
from streams.records.catalog import Composite, Constituent, Pool, Tier
from streams.records.control import Control
from streams.records.trials import Trial
from streams.records.verdicts import Verdict

__all__ = [
    "SINK",
    "STAGES",
    "TOPICS",
    "TOPOLOGY",
    "FlowTopology",
    "RecordKind",
    "StageRow",
    "Topic",
    "changelog",
    "key_of",
    "topic_of",
]

SINK = "sink"  # consumer group of `foremesh sink`


@dataclass(frozen=True, slots=True)
class RecordKind:
    """The registration of a kind of record."""

    record: type
    schema: str  # folder below schemas/
    key: Callable[[Any], str | bytes | None]  # what it is partitioned by


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic: the kinds of record on it, who keeps them, and whether it is compacted."""

    name: str
    kinds: tuple[RecordKind, ...]
    keyed_by: str  # for people
    about: str  # for people
    compacted: bool = False  # only the last record of a key counts
    stored: bool = False  # the sink writes its records to PostgreSQL, to tables declared there
    reported_by: str = ""  # of several readers, the one that dead-letters what is unusable
    records: tuple[type, ...] = field(init=False)  # of the kinds; looked up for every record

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", tuple(kind.record for kind in self.kinds))


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """A stage: consumer group, agent and metric label of this name."""

    name: str
    reads: tuple[str, ...]  # partitioned with the group; co-partitioned when several
    first: tuple[str, ...] = ()  # of these: read to their end before the others
    views: tuple[str, ...] = ()  # compacted topics that every worker reads whole
    stale_ms: int = 0  # age of a view at which it is refreshed before a record is refused
    writes: tuple[str, ...] = ()
    optional: bool = False  # runs only when asked for
    keeps: bool = True  # state, besides what it has read


class FlowTopology:
    """Topics and stages, and what follows from them.

    A kind of record is registered once, in the row of its topic: the codec finds its schema here,
    producers its topic and key, the sink and the lag of its group what is stored.

    Parameters
    ----------
    topics, stages
        The rows.

    Raises
    ------
    ValueError
        A kind of record or a schema is registered twice.
    """

    def __init__(self, topics: Iterable[Topic], stages: Iterable[StageRow]) -> None:
        self.topics: Mapping[str, Topic] = {topic.name: topic for topic in topics}
        self.stages: Mapping[str, StageRow] = {stage.name: stage for stage in stages}
        kinds = [kind for topic in self.topics.values() for kind in topic.kinds]
        for what, count in Counter(x for k in kinds for x in (k.record, k.schema)).items():
            if count > 1:
                raise ValueError(f"{what} is registered twice")
        self.schemas: Mapping[str, type] = {kind.schema: kind.record for kind in kinds}
        self._keys = {kind.record: kind.key for kind in kinds}
        self._topics = {kind: t.name for t in self.topics.values() for kind in t.records}

    @property
    def stored(self) -> tuple[str, ...]:
        """The topics that the sink reads."""
        return tuple(topic.name for topic in self.topics.values() if topic.stored)

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The topics that each consumer group reads: those of the stages, and the sink's."""
        return {stage.name: stage.reads for stage in self.stages.values()} | {SINK: self.stored}

    def topic_of(self, record: Record) -> str:
        """The topic that this record belongs on, without the prefix."""
        return self._topics[type(record)]

    def key_of(self, record: Record) -> bytes | None:
        """The key that this record is partitioned by."""
        key = self._keys[type(record)](record)
        return key.encode() if isinstance(key, str) else key


_USER, _POOL = attrgetter("user"), attrgetter("pool")

TOPOLOGY = FlowTopology(
    topics=(
        Topic(
            name="requests",
            kinds=(
                RecordKind(Request, "request", _USER),
                RecordKind(Watermark, "watermark", attrgetter("log")),
            ),
            keyed_by="user",
            about="who asked for which composite, with what parameters, when; how far a log has come",
            reported_by="profiler",
        ),
        Topic(
            name="predictions",
            kinds=(RecordKind(Prediction, "prediction", _USER),),
            keyed_by="user",
            about="a probability for each next composite, of its coming within horizon and minute, and by the phase of a silence",
            compacted=True,
            stored=True,
            reported_by="aggregator",
        ),
        Topic(
            name="demand",
            kinds=(RecordKind(Demand, "demand", _POOL),),
            keyed_by="pool",
            about="expected requests by composite and tier, summed over a partition's users",
            reported_by="allocator",
        ),
        Topic(
            name="catalog",
            kinds=(
                RecordKind(Constituent, "constituent", lambda r: f"constituent/{r.service}"),
                RecordKind(Composite, "composite", lambda r: f"composite/{r.service}"),
                RecordKind(Tier, "tier", lambda r: f"tier/{r.tier}"),
                RecordKind(Pool, "pool", lambda r: f"pool/{r.pool}"),
            ),
            keyed_by="kind and name",
            about="constituents with needs, price and base, composites, tiers, pools",
            compacted=True,
        ),
        Topic(
            name="control",
            kinds=(RecordKind(Control, "control", _POOL),),
            keyed_by="pool",
            about="operator override: mode, pause, pins, budget, quotas, variants; by whom, and why",
            compacted=True,
            stored=True,
            reported_by="allocator",
        ),
        Topic(
            name="utilisation",
            kinds=(RecordKind(Utilisation, "utilisation", _POOL),),
            keyed_by="pool",
            about="capacity and use of cpu, memory, bandwidth",
            stored=True,
            reported_by="allocator",
        ),
        Topic(
            name="commands",
            kinds=(RecordKind(Command, "command", _POOL),),
            keyed_by="pool",
            about="provision, release or queue: with value, cost, and the reason in words",
            stored=True,
            reported_by="provisioner",
        ),
        Topic(
            name="verdicts",
            kinds=(RecordKind(Verdict, "verdict", _POOL),),
            keyed_by="pool",
            about="what was weighed at a decision, for `foremesh explain`",
            stored=True,
        ),
        Topic(
            name="trials",
            kinds=(RecordKind(Trial, "trial", _POOL),),
            keyed_by="pool",
            about="simulated savings and costs of champion and challenger",
            compacted=True,
            stored=True,
        ),
        Topic(
            name="instances",
            kinds=(RecordKind(Instance, "instance", attrgetter("instance_id")),),
            keyed_by="instance",
            about="starting, warm, busy, draining, gone",
            compacted=True,
            stored=True,
        ),
        Topic(
            name="cold-starts",
            kinds=(RecordKind(ColdStart, "cold-start", _POOL),),
            keyed_by="pool",
            about="what requests of a log found cold: a simulated pool starts it, as the gateway does",
            reported_by="provisioner",
        ),
        Topic(
            name="outcomes",
            kinds=(RecordKind(Outcome, "outcome", _USER),),
            keyed_by="user",
            about="hit, partial or miss: exactly one for each request",
            stored=True,
            reported_by="feedback",
        ),
        Topic(
            name="feedback",
            kinds=(RecordKind(Feedback, "feedback", _USER),),
            keyed_by="user",
            about="the start-up times that a request has waited for",
            reported_by="aggregator",
        ),
        Topic(
            name="dead-letters",
            kinds=(RecordKind(DeadLetter, "dead-letter", attrgetter("key")),),
            keyed_by="source key",
            about="the original's bytes up to 64 KiB, size, hash and place, and the reason",
            stored=True,
        ),
    ),
    stages=(
        StageRow(
            name="profiler",
            reads=("requests",),
            views=("catalog",),
            stale_ms=1_000,
            writes=("predictions",),
        ),
        StageRow(
            name="aggregator",
            reads=("predictions", "feedback"),
            views=("catalog",),
            writes=("demand",),
        ),
        StageRow(
            name="allocator",
            reads=("demand", "utilisation", "control"),
            first=("control",),  # else it acts for a moment as no operator wants it to
            views=("catalog", "instances"),
            writes=("commands", "verdicts", "trials"),
        ),
        StageRow(
            name="interceptor",
            reads=("requests",),
            views=("catalog", "instances"),
            writes=("outcomes", "cold-starts"),
            keeps=False,
        ),
        StageRow(name="feedback", reads=("outcomes",), writes=("feedback",), keeps=False),
        StageRow(
            name="provisioner",
            reads=("commands", "cold-starts"),
            views=("catalog",),
            writes=("instances", "utilisation"),
            optional=True,
        ),
    ),
)

TOPICS, STAGES = TOPOLOGY.topics, TOPOLOGY.stages
topic_of, key_of = TOPOLOGY.topic_of, TOPOLOGY.key_of


def changelog(stage: str) -> str:
    """The compacted topic that holds the state of a stage, without the prefix."""
    return f"{stage}-state"
