"""The flow as data: one row per topic and stage, one registration per kind of record."""

from __future__ import annotations

from operator import attrgetter

from streams.flow.declaration import FlowTopology, RecordKind, StageRow, Topic
from streams.records import (
    ColdStart,
    Command,
    DeadLetter,
    Demand,
    Feedback,
    Instance,
    LoggedUse,
    Outcome,
    Prediction,
    Request,
    Utilisation,
    Watermark,
)
from streams.records.catalog import Composite, Constituent, Pool, Tier
from streams.records.control import Control
from streams.records.trials import Trial
from streams.records.verdicts import Verdict

__all__ = [
    "STAGES",
    "TOPICS",
    "TOPOLOGY",
    "changelog",
    "key_of",
    "topic_of",
]

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
            kinds=(
                RecordKind(ColdStart, "cold-start", _POOL),
                RecordKind(LoggedUse, "logged-use", _POOL),
            ),
            keyed_by="pool",
            about="what requests of a log found cold, which a simulated pool starts as the gateway does; and what is busy with them",
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
