"""The flow as data: one row a topic, one row a stage. Topics, agents and the picture follow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from streams.records import (
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
)
from streams.records.catalog import Composite, Constituent, Pool, Tier
from streams.records.control import Control
from streams.records.trials import Trial
from streams.records.verdicts import Verdict

__all__ = ["STAGES", "TOPICS", "StageRow", "Topic", "changelog", "key_of", "mermaid", "topic_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic: what is on it, and whether only the last record of a key counts."""

    name: str
    key: str  # what it is keyed by, in words
    records: tuple[type, ...]
    compacted: bool = False
    reported_by: str = ""  # of several readers, the one that dead-letters what is unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """A stage: consumer group, agent and metric label of this name."""

    name: str
    reads: tuple[str, ...]  # partitioned with the group; co-partitioned when several
    views: tuple[str, ...] = ()  # compacted topics that every worker reads whole
    stale_ms: int = 0  # age that views may have; before a record is refused they are seen anew
    writes: tuple[str, ...] = ()
    optional: bool = False  # runs only when asked for


TOPICS: Mapping[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(name="requests", key="user", records=(Request,), reported_by="profiler"),
        Topic(
            name="predictions",
            key="user",
            records=(Prediction,),
            compacted=True,
            reported_by="aggregator",
        ),
        Topic(name="demand", key="pool", records=(Demand,), reported_by="allocator"),
        Topic(
            name="catalog",
            key="kind and name",
            records=(Constituent, Composite, Tier, Pool),
            compacted=True,
        ),
        Topic(
            name="control",
            key="pool",
            records=(Control,),
            compacted=True,
            reported_by="allocator",
        ),
        Topic(name="utilisation", key="pool", records=(Utilisation,), reported_by="allocator"),
        Topic(name="commands", key="pool", records=(Command,), reported_by="provisioner"),
        Topic(name="verdicts", key="pool", records=(Verdict,)),
        Topic(name="trials", key="pool", records=(Trial,), compacted=True),
        Topic(name="instances", key="instance", records=(Instance,), compacted=True),
        Topic(name="outcomes", key="user", records=(Outcome,), reported_by="feedback"),
        Topic(name="feedback", key="user", records=(Feedback,), reported_by="profiler"),
        Topic(name="dead-letters", key="source key", records=(DeadLetter,)),
    )
}

STAGES: Mapping[str, StageRow] = {
    stage.name: stage
    for stage in (
        StageRow(
            name="profiler",
            reads=("requests", "feedback"),
            views=("catalog",),
            stale_ms=1_000,
            writes=("predictions",),
        ),
        StageRow(
            name="aggregator",
            reads=("predictions", "feedback"),
            writes=("demand",),
        ),
        StageRow(
            name="allocator",
            reads=("demand", "utilisation", "control"),
            views=("catalog", "instances"),
            writes=("commands", "verdicts", "trials"),
        ),
        StageRow(
            name="interceptor",
            reads=("requests",),
            views=("catalog", "instances"),
            writes=("outcomes",),
        ),
        StageRow(name="feedback", reads=("outcomes",), writes=("feedback",)),
        StageRow(
            name="provisioner",
            reads=("commands",),
            views=("catalog",),
            writes=("instances", "utilisation"),
            optional=True,
        ),
    )
}

_TOPIC_OF: Mapping[type, str] = {kind: t.name for t in TOPICS.values() for kind in t.records}

_KEYS: Mapping[type, Callable[[Any], str | bytes | None]] = {
    Request: attrgetter("user"),
    Prediction: attrgetter("user"),
    Demand: attrgetter("pool"),
    Constituent: lambda r: f"constituent/{r.service}",
    Composite: lambda r: f"composite/{r.service}",
    Tier: lambda r: f"tier/{r.tier}",
    Pool: lambda r: f"pool/{r.pool}",
    Utilisation: attrgetter("pool"),
    Command: attrgetter("pool"),
    Control: attrgetter("pool"),
    Verdict: attrgetter("pool"),
    Trial: attrgetter("pool"),
    Instance: attrgetter("instance_id"),
    Outcome: attrgetter("user"),
    Feedback: attrgetter("user"),
    DeadLetter: attrgetter("key"),
}


def topic_of(record: Record) -> str:
    """The topic that this record belongs on, without the prefix."""
    return _TOPIC_OF[type(record)]


def key_of(record: Record) -> bytes | None:
    """The key that this record is partitioned by."""
    key = _KEYS[type(record)](record)
    return key.encode() if isinstance(key, str) else key


def changelog(stage: str) -> str:
    """The compacted topic that holds the state of a stage, without the prefix."""
    return f"{stage}-state"


def mermaid() -> str:
    """The flow as a Mermaid diagram."""
    lines = ["flowchart LR"]
    for stage in STAGES.values():
        lines += [f"  {topic}([{topic}]) --> {stage.name}" for topic in stage.reads]
        lines += [f"  {topic}([{topic}]) -.-> {stage.name}" for topic in stage.views]
        lines += [f"  {stage.name} --> {topic}([{topic}])" for topic in stage.writes]
    return "\n".join(lines)
