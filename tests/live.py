"""The whole flow, running: workers and sink as child processes, and when they have nothing left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from harness import RunForemesh, Running, eventually

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import connect
from streams.adapters.kafka.dead_letters import DeadLetterAtOffset, letters
from streams.adapters.kafka.lag import committed_offsets
from streams.adapters.kafka.topic_reader import read_topic
from streams.broker.questions import patiently
from streams.flow.topology import STAGES, TOPOLOGY
from streams.records import Record
from streams.settings import Settings

__all__ = ["Live"]

ANSWER_S = 30.0


class Live:
    """What runs, and questions to Kafka and PostgreSQL about what came of it."""

    def __init__(self, settings: Settings, run_foremesh: RunForemesh) -> None:
        self.settings = settings
        self._run = run_foremesh
        self._admin: AdminClient = connect(settings)
        self._groups: dict[str, tuple[str, ...]] = {}  # group -> topics
        self._met: set[str] = set()  # groups whose coordinator has answered

    def run(self, *args: str, **env: str) -> str:
        """Run a command to its end; what it printed."""
        return self._run(*args, **env).finish(180)

    def worker(self, *stages: str, **env: str) -> Running:
        """Start a worker."""
        for name in stages or [row.name for row in STAGES.values() if not row.optional]:
            self._groups[self.settings.group(name)] = STAGES[name].reads
        return self._run("worker", *stages, **env)

    def sink(self, **env: str) -> Running:
        """Start the sink."""
        self._groups[self.settings.group("sink")] = TOPOLOGY.stored
        return self._run("sink", **env)

    # ------------------------------------------------------------------- Kafka

    def ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """The offset of the next record of each partition."""
        places = {
            TopicPartition(self.settings.topic(topic), number): OffsetSpec.latest()  # type: ignore[no-untyped-call]  # has no types
            for topic in topics
            for number in range(self.settings.partitions)
        }
        answers = self._admin.list_offsets(places, request_timeout=ANSWER_S)
        return {(tp.topic, tp.partition): f.result(ANSWER_S).offset for tp, f in answers.items()}

    def committed(self, group: str) -> Mapping[tuple[str, int], int]:
        """The offset of the next record that a group has not settled, where it has any."""
        return committed_offsets(self._admin, group)

    def behind(self) -> dict[str, int]:
        """How many records each group has not settled, where there are any."""
        return self._behind(self.ends(self._read_topics()))

    def _all_committed(self) -> Mapping[str, Mapping[tuple[str, int], int]]:
        """The same of every group, asked at once: one by one it takes longer than the flow."""
        for group in self._groups.keys() - self._met:
            self.committed(group)
            self._met.add(group)
        asked = [ConsumerGroupTopicPartitions(group) for group in self._groups]

        def ask() -> dict[str, ConsumerGroupTopicPartitions]:
            answers = [self._admin.list_consumer_group_offsets([one]) for one in asked]
            return {g: f.result(ANSWER_S) for answer in answers for g, f in answer.items()}

        return {
            group: {(at.topic, at.partition): at.offset for at in found.topic_partitions or ()}
            for group, found in patiently(ask).items()
        }

    def catch_up(self, timeout_s: float = 120.0) -> None:
        """Wait until every group has settled all that is there now."""
        ends = self.ends(self._read_topics())

        def settled() -> bool:
            behind = self._behind(ends)
            assert not behind, f"behind by {behind}"
            return True

        eventually(settled, timeout_s)

    def _read_topics(self) -> set[str]:
        return {topic for reads in self._groups.values() for topic in reads}

    def _behind(self, ends: Mapping[tuple[str, int], int]) -> dict[str, int]:
        left, committed = Counter[str](), self._all_committed()
        for group, reads in self._groups.items():
            done, names = committed[group], set(map(self.settings.topic, reads))
            for place, end in ends.items():
                if place[0] in names:
                    left[group] += max(0, end - max(0, done.get(place, 0)))
        return {group: count for group, count in left.items() if count}

    def be_quiet(self, timeout_s: float = 120.0, *, but: Iterable[str] = ()) -> None:
        """Wait until every group has settled all there is, and nothing new has come of it.

        Parameters
        ----------
        but
            Stages that are not waited for.
        """
        others = set(map(self.settings.group, but))
        topics = self._read_topics()

        def quiet() -> bool:
            before = self.ends(topics)
            behind = {group: n for group, n in self._behind(before).items() if group not in others}
            assert not behind, f"behind by {behind}"
            return self.ends(topics) == before

        eventually(quiet, timeout_s, pause_s=0.01)

    def count(self, topic: str) -> int:
        """How many records were ever written to a topic, those compacted away included."""
        return sum(self.ends([topic]).values())

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, partition by partition."""
        name = self.settings.topic(topic)
        values = [message.value() for message in read_topic(self.settings, name)]
        return [codec.decode(value) for value in values if value is not None]

    def keep_every_record(self, topic: str) -> None:
        """Have a compacted topic keep all records: on a slow machine a test outlives a segment."""
        lag = ConfigEntry(
            "min.compaction.lag.ms", "3600000", incremental_operation=AlterConfigOpType.SET
        )
        name = self.settings.topic(topic)
        asked = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[lag])
        for done in self._admin.incremental_alter_configs([asked]).values():
            done.result(30)

    def dead(self) -> list[DeadLetterAtOffset]:
        """All dead letters."""
        return list(letters(self.settings))

    # ------------------------------------------------------------------- PostgreSQL

    def query(self, sql: Any, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with psycopg.connect(self.settings.postgres) as connection:
            return connection.execute(sql, values).fetchall()

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        [(count,)] = self.query(f"SELECT count(*) FROM {table}")
        return int(count)

    def catalogue(self, path: Path | str) -> None:
        """Put the catalogue of a file into force."""
        self.run("catalog", "load", str(path))
