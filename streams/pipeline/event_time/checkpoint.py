"""The checkpoints of a flow in memory: all states and the place in the log, in one transaction.

Rows and positions are those of the stages' own workers, which can go on from here. After a crash
the requests since the last checkpoint are taken again, on the same states and in the same order;
what follows from them is sent again, with the same ids.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.adapters.kafka.clients import client_config, connect, producer_config
from streams.adapters.kafka.groups import GroupInUse, commit_for, members
from streams.adapters.kafka.lag import committed_offsets
from streams.broker.offsets import Offsets, end_offsets
from streams.broker.refusal import check_rights
from streams.broker.topic_ids import TopicIds
from streams.engine.partition_store import PartitionStore
from streams.engine.producer import Row, TransactionalFlowWriter, WriterFenced
from streams.engine.recovery import read_partition
from streams.errors import BrokerUnreachable, StagesRunApart
from streams.flow.components import EVENT_TIME
from streams.flow.topology import STAGES, changelog
from streams.settings import Settings

__all__ = ["FlowCheckpoints"]

_log = logging.getLogger(__name__)

READERS = 8  # partitions that are read at once
RETRY_S = 0.5
# Where a flow is in what it does not make itself, by the stage that has a position in it as well.
READ_BY = {"requests": "profiler", "control": "allocator"}

States = Mapping[tuple[str, int], PartitionStore[Any]]  # by stage and partition


class FlowCheckpoints:
    """Saves and loads all states of a flow.

    Opening it ends every other worker that runs the flow in event time, at its next checkpoint.

    Parameters
    ----------
    settings
        Kafka.

    Raises
    ------
    StagesRunApart
        A worker of a stage runs, and does not end.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._admin = settings, connect(settings)
        self._wait_until_alone()
        group = settings.group(EVENT_TIME)
        self._consumer = Consumer({**client_config(settings), "group.id": group})
        self._writer = TransactionalFlowWriter(producer_config(settings), group)
        read = {topic for row in STAGES.values() for topic in row.reads}
        self._made = read - READ_BY.keys()
        names = {settings.topic(topic): topic for topic in read}
        self._topics = TopicIds(client_config(settings), names)
        self._saved: Mapping[str, Mapping[int, int]] = {}  # by topic and partition

    def load(self, states: States) -> None:
        """Rebuild these states; topics that were made anew are begun again."""

        def read(stage: str, number: int, state: PartitionStore[Any]) -> None:
            name = self._settings.topic(changelog(stage))
            for rows in read_partition(client_config(self._settings), name, number, lambda: False):
                state.load(rows)
            state.check()

        with ThreadPoolExecutor(READERS) as pool:
            done = [pool.submit(read, *place, state) for place, state in states.items()]
            for future in done:
                future.result()
        self._saved = self._begin(states, self._adopt(states))

    def start(self, topic: str) -> Mapping[int, int]:
        """By partition of a topic: the offset of the next record."""
        return self._saved[topic]

    def ends(self) -> Offsets:
        """By topic without prefix and partition: the offset of the next record to be made."""
        ends = self._ends(self._made)
        return {(topic, p): at for topic, by_number in ends.items() for p, at in by_number.items()}

    def save(self, states: States, positions: Mapping[str, Mapping[int, int]]) -> None:
        """Save these states, which are those at these positions in what others write.

        Raises
        ------
        DeliveryFailed, StagesRunApart
            It is not saved; a worker of a stage runs beside this one.
        BrokerUnreachable, RightsMissing
            Its offsets are not committed for the stages: the next one's are.
        """
        at = {**positions, **self._ends(self._made)}
        for (stage, number), state in states.items():
            state.position.update({topic: at[topic][number] for topic in STAGES[stage].reads})
        rows: dict[tuple[str, int], list[Row]] = {
            (self._settings.topic(changelog(stage)), number): [*some]
            for (stage, number), state in states.items()
            if (some := state.save())
        }
        own = self._offsets({topic: at[topic] for topic in READ_BY})
        try:
            self._writer.write(rows, own, self._consumer)
        except WriterFenced as error:
            raise WriterFenced("Another worker runs the flow in event time now") from error
        self._commit(at)
        self._saved = at

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    # ------------------------------------------------------------------- where to begin

    def _adopt(self, states: States) -> Mapping[tuple[str, int], Collection[str]]:
        """The topics that were made anew since each state was saved.

        Of those that the flow makes itself nothing is told: it goes on where they end.
        """
        ids = self._topics.now()
        anew = {
            (stage, number): state.adopt({topic: ids[topic] for topic in STAGES[stage].reads})
            for (stage, number), state in states.items()
        }
        for name in sorted(READ_BY.keys() & set(chain.from_iterable(anew.values()))):
            _log.warning(
                "Topic %s was deleted and made anew: it is read from its beginning",
                name, extra={"action": "topic_made_anew"},
            )  # fmt: skip
        return anew

    def _begin(
        self, states: States, anew: Mapping[tuple[str, int], Collection[str]]
    ) -> Mapping[str, Mapping[int, int]]:
        """Where this flow, or a stage that has run by itself since, left off.

        In a topic made anew that is nowhere: what is committed in it may be of the former one.
        """
        own = committed_offsets(self._admin, self._settings.group(EVENT_TIME))
        found: dict[str, dict[int, int]] = {}
        for topic, stage in READ_BY.items():
            theirs = committed_offsets(self._admin, self._settings.group(stage))
            for number in range(self._settings.partitions):
                place = self._settings.topic(topic), number
                state = states[stage, number].position.get(topic, 0)
                latest = max(own.get(place, 0), theirs.get(place, 0), state)
                begun_again = topic in anew[stage, number]
                found.setdefault(topic, {})[number] = 0 if begun_again else latest
        return found

    def _wait_until_alone(self) -> None:
        """Wait for workers of stages to end; a killed one counts as there for a session."""
        deadline = time.monotonic() + 2 * self._settings.session_ms / 1000
        while there := [
            name for name in STAGES if members(self._admin, self._settings.group(name))
        ]:
            if time.monotonic() > deadline:
                raise _run_apart(there)
            time.sleep(RETRY_S)

    # ------------------------------------------------------------------- offsets

    def _ends(self, topics: set[str]) -> dict[str, dict[int, int]]:
        found: dict[str, dict[int, int]] = {}
        bare = {self._settings.topic(topic): topic for topic in topics}
        for (name, number), end in end_offsets(self._admin, bare).items():
            found.setdefault(bare[name], {})[number] = end
        return found

    def _offsets(self, at: Mapping[str, Mapping[int, int]]) -> list[TopicPartition]:
        return [
            TopicPartition(self._settings.topic(topic), number, offset)
            for topic, by_partition in at.items()
            for number, offset in by_partition.items()
        ]

    def _commit(self, at: Mapping[str, Mapping[int, int]]) -> None:
        """Commit for the groups of the stages, so that these can go on, and lag is seen."""
        wanted = {
            self._settings.group(stage): {
                (self._settings.topic(topic), number): offset
                for topic in row.reads
                for number, offset in at[topic].items()
            }
            for stage, row in STAGES.items()
        }
        try:
            commit_for(self._admin, wanted)
        except GroupInUse as error:
            raise _run_apart(
                [s for s in STAGES if self._settings.group(s) in error.args]
            ) from error
        except KafkaException as error:
            check_rights(error.args[0])
            raise BrokerUnreachable.because(str(error.args[0])) from error


def _run_apart(stages: list[str]) -> StagesRunApart:
    return StagesRunApart(
        f"Another worker runs {', '.join(stages)}: end it first, or set FOREMESH_CLOCK=wall"
    )
