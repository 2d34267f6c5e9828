"""What each process and command does on Kafka, in one row: its rights follow from that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from streams.flow.declaration import SINK, FlowTopology, StageRow
from streams.flow.topology import TOPOLOGY, changelog

__all__ = [
    "COMPONENTS",
    "EVENT_TIME",
    "FORGET",
    "KEPT_OF_USERS",
    "POOL_GROUP",
    "READER_GROUP",
    "SAID",
    "KafkaComponent",
    "components",
]

EVENT_TIME = "event-time"  # group and transactional id of a worker that runs the whole flow
CONTROL = "control"  # transactional id of who changes what is in force in a pool
FORGET = "forget"  # transactional id of who deletes a user's vector
POOL_GROUP = "provisioner-"  # groups of the provisioners begin with it; the pool follows
READER_GROUP = "foremesh-reader"  # named by clients that assign partitions themselves; never joined

SAID = ("catalog", "control")  # what operators have said, and no flow has made
KEPT_OF_USERS = ("profiler", "aggregator")  # stages whose state has rows of users

DEAD_LETTERS = "dead-letters"
WATCHED = ("catalog", "instances")  # what everything in the way of requests holds whole


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaComponent:
    """What one process, or one command, does on Kafka; names are without prefix."""

    name: str
    runs: str  # the command
    reads: tuple[str, ...] = ()  # topics, as a member of its groups
    views: tuple[str, ...] = ()  # topics that are read without a group
    writes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()  # topics whose partitions and configuration are looked at
    creates: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()  # joined, or committed for; of each name
    group_prefixes: tuple[str, ...] = ()  # the same of every name that begins so
    asks_groups: tuple[str, ...] = ()  # groups whose members and offsets are asked for
    asks_group_prefixes: tuple[str, ...] = ()  # the same of every name that begins so
    empties: tuple[str, ...] = ()  # topics whose records are deleted
    resets: tuple[str, ...] = ()  # of these, those whose configuration is changed meanwhile
    forgets: tuple[str, ...] = ()  # groups that are deleted
    forgets_prefixes: tuple[str, ...] = ()  # the same of every name that begins so
    transactions: tuple[str, ...] = ()  # transactional ids, named as groups are
    transaction_prefixes: tuple[str, ...] = ()  # the same, with what follows a hyphen


def components(topology: FlowTopology = TOPOLOGY) -> Mapping[str, KafkaComponent]:
    """Every component by name: the stages, and all that is not one."""
    made = [*_workers(topology), *_processes(topology), *_commands(topology)]
    return {component.name: component for component in made}


def _workers(topology: FlowTopology) -> Iterable[KafkaComponent]:
    rows = topology.stages.values()
    yield _worker("worker", "foremesh worker", [row for row in rows if not row.optional])
    for row in rows:
        yield _worker(row.name, f"foremesh worker {row.name}", [row])
    made = [topic for row in rows for topic in row.writes]
    names = tuple(row.name for row in rows)
    yield KafkaComponent(
        name=EVENT_TIME,
        runs="FOREMESH_CLOCK=event foremesh worker",
        reads=_once(topic for row in rows for topic in row.reads),
        views=_once([*(topic for row in rows for topic in row.views), *map(changelog, names)]),
        writes=_once([*made, DEAD_LETTERS, *map(changelog, names)]),
        checks=(*topology.topics, *map(changelog, names)),
        groups=(EVENT_TIME, *names),
        transactions=(EVENT_TIME,),
    )


def _worker(name: str, runs: str, rows: list[StageRow]) -> KafkaComponent:
    logs = [changelog(row.name) for row in rows]
    reads = _once(topic for row in rows for topic in row.reads)
    views = _once([*(topic for row in rows for topic in row.views), *logs])
    writes = _once([*(topic for row in rows for topic in row.writes), DEAD_LETTERS, *logs])
    return KafkaComponent(
        name=name,
        runs=runs,
        reads=reads,
        views=views,
        writes=writes,
        checks=_once([*reads, *views, *writes]),
        groups=tuple(row.name for row in rows),
        transaction_prefixes=tuple(row.name for row in rows),
    )


def _processes(topology: FlowTopology) -> Iterable[KafkaComponent]:
    yield KafkaComponent(
        name=SINK,
        runs="foremesh sink",
        reads=topology.stored,
        writes=(DEAD_LETTERS,),
        groups=(SINK,),
    )
    yield KafkaComponent(
        name="provision",
        runs="foremesh provision",
        reads=("commands",),
        views=WATCHED,
        writes=("instances", "utilisation", DEAD_LETTERS),
        group_prefixes=(POOL_GROUP,),
    )
    answers = {"views": WATCHED, "writes": ("requests", "outcomes")}
    yield _of("gateway", **answers)
    yield _of("mesh log", **answers)
    for name in ("mesh control", "mesh decide", "mesh activate", "mesh compose", "keda"):
        yield _of(name, views=WATCHED)


def _commands(topology: FlowTopology) -> Iterable[KafkaComponent]:
    every = (*topology.topics, *map(changelog, topology.stages))
    groups = tuple(topology.groups)
    grouped = _once(topic for topics in topology.groups.values() for topic in topics)
    writes = ("requests", DEAD_LETTERS)
    yield _of("topics", creates=every, checks=every)
    yield _of("catalog", views=("catalog",), writes=("catalog",))
    yield _of(
        "control",
        views=("catalog", "control", "trials"),
        writes=("control",),
        transactions=(CONTROL,),
    )
    yield _of("produce", writes=writes, asks_groups=(EVENT_TIME,))
    asked = (*groups, EVENT_TIME)
    yield _of("produce --wait", writes=writes, views=grouped, asks_groups=asked)
    asks = {"checks": every, "asks_groups": asked, "asks_group_prefixes": (POOL_GROUP,)}
    yield _of("doctor", views=_once(["catalog", *grouped]), **asks)
    seen = _once(["catalog", "control", *grouped])  # the page makes the checks of the doctor
    yield _of(
        "dashboard",
        views=seen,
        writes=("control",),
        transactions=(CONTROL,),
        **asks,
    )
    yield from _deletions(topology)
    yield _of("dead-letters list", views=(DEAD_LETTERS,))
    kept = tuple(t.name for t in topology.topics.values() if t.reported_by or t.stored)
    yield _of("dead-letters replay", views=kept, writes=kept)


def _deletions(topology: FlowTopology) -> Iterable[KafkaComponent]:
    every = (*topology.topics, *map(changelog, topology.stages))
    compacted = [topic.name for topic in topology.topics.values() if topic.compacted]
    logs = [changelog(stage) for stage in topology.stages]
    yield _of(
        "reset",
        views=("catalog",),
        empties=tuple(name for name in every if name not in SAID),
        resets=tuple(name for name in (*compacted, *logs) if name not in SAID),
        forgets=(*topology.groups, EVENT_TIME),
        forgets_prefixes=(POOL_GROUP,),
    )
    of_users = tuple(map(changelog, KEPT_OF_USERS))
    yield _of(
        FORGET,
        views=of_users,
        writes=(*of_users, "predictions"),
        checks=(*of_users, "predictions"),
        asks_groups=(*KEPT_OF_USERS, EVENT_TIME),
        transactions=(FORGET,),
        transaction_prefixes=KEPT_OF_USERS,
    )


def _of(command: str, **does: Any) -> KafkaComponent:
    name = command.replace(" --", "-").replace(" ", "-")
    return KafkaComponent(name=name, runs=f"foremesh {command}", **does)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


COMPONENTS = components()
