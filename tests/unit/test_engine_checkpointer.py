from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.engine.background import BackgroundTasks
from streams.engine.batch import RecordBatch
from streams.engine.checkpointer import FailedPartition, PartitionCheckpointer
from streams.engine.ownership import OwnedPartitions
from streams.engine.partition import ChangelogConfig, OwnedPartition
from streams.engine.partition_store import PartitionStore
from streams.errors import DeliveryFailed
from streams.settings import Settings

TOPIC = "x-requests"


class Checkpointed:
    """Two partitions with a batch each, and what a checkpoint of them did, in order."""

    def __init__(self, *, refused: str = "") -> None:
        self.log: list[str] = []
        self.refused = refused  # "outputs", or the rows of a partition
        changelog = ChangelogConfig("log", "group", {}, {}, self.empty)
        self.partitions = OwnedPartitions(Settings(), {TOPIC: "requests"}, changelog)
        self.tasks = BackgroundTasks("profiler")
        outbox: Any = self
        steps: Any = SimpleNamespace(checkpoint=lambda _: ())
        meter: Any = self
        self.checkpointer = PartitionCheckpointer(
            "profiler",
            meter,
            tasks=self.tasks,
            outbox=outbox,
            steps=steps,
            partitions=self.partitions,
        )
        self.owned = self.partitions.assign({TP(TOPIC, 0), TP(TOPIC, 1)}, generation=1)
        for owned in self.owned:
            self.fill(owned)

    def empty(self) -> PartitionStore[bytes]:
        return PartitionStore(bytes, bytes, 9)

    def fill(self, owned: OwnedPartition) -> None:
        writer: Any = Writer(self, owned.number)
        owned.reset(writer, self.empty(), {})
        owned.resume()
        owned.store["u"] = b"1"
        owned.store.position["requests"] = 5
        owned.keep(batch(owned.number))

    def checkpoint(self, turn: int | None = None) -> list[FailedPartition]:
        return asyncio.run(self.checkpointer.checkpoint(turn))

    # what it is told, as outbox and meter

    def put(self, records: Iterable[Any]) -> None:
        assert not list(records)

    def hold(self) -> None:
        self.log.append("hold")

    async def deliver(self) -> None:
        self.log.append("deliver")
        if self.refused == "outputs":
            raise DeliveryFailed("refused")

    def release(self) -> None:
        self.log.append("release")

    def drop(self) -> None:
        self.log.append("drop")

    def batch(self, stage: str, seconds: float) -> None:
        assert seconds >= 0
        self.log.append(f"{stage} saved")


class Writer:
    """Logs what it writes."""

    def __init__(self, told: Checkpointed, number: int) -> None:
        self._told, self._number = told, number

    def write(self, rows: Iterable[Any]) -> None:
        assert list(rows)
        assert not self._told.partitions.committable
        self._told.log.append(f"rows {self._number}")
        if self._told.refused == f"rows {self._number}":
            raise DeliveryFailed("refused")


def batch(number: int) -> RecordBatch:
    record = SimpleNamespace(offset=4, timestamp=0, key=b"", value=b"")
    return RecordBatch(TOPIC, number, generation=1, follows=0, records=[record])


def offsets(committable: Mapping[TP, int]) -> dict[int, int]:
    return {tp.partition: offset for tp, offset in committable.items()}


def test_outputs_are_delivered_before_rows_are_written_and_offsets_come_last() -> None:
    told = Checkpointed()
    assert told.checkpoint() == []
    assert told.log[:3] == ["hold", "deliver", "release"]
    assert sorted(told.log[3:5]) == ["rows 0", "rows 1"]
    assert told.log[5:] == ["profiler saved"] * 2
    assert offsets(told.partitions.committable) == {0: 5, 1: 5}


def test_outputs_that_are_not_delivered_suspend_all_partitions_and_save_none() -> None:
    told = Checkpointed(refused="outputs")
    assert {failed.owned for failed in told.checkpoint()} == set(told.owned)
    assert told.log == ["hold", "deliver", "drop"]
    assert told.partitions.ready() == []
    assert told.partitions.committable == {}


def test_rows_that_are_not_written_suspend_their_partition_alone() -> None:
    told = Checkpointed(refused="rows 1")
    assert [failed.owned.number for failed in told.checkpoint()] == [1]
    assert [owned.number for owned in told.partitions.ready()] == [0]
    assert offsets(told.partitions.committable) == {0: 5}


def test_a_suspended_partition_keeps_its_batches_to_process_them_again() -> None:
    told = Checkpointed(refused="rows 1")
    told.checkpoint()
    assert [len(owned.take_back()) for owned in told.owned] == [0, 1]


def test_a_turn_checkpoints_the_partitions_of_its_slice() -> None:
    told = Checkpointed()
    told.checkpoint(turn=1)
    assert offsets(told.partitions.committable) == {1: 5}


def test_a_partition_without_a_change_is_not_checkpointed() -> None:
    told = Checkpointed()
    told.checkpoint()
    told.log.clear()
    assert told.checkpoint() == []
    assert told.log == []


def test_nothing_is_saved_once_a_task_has_failed() -> None:
    told = Checkpointed()
    asyncio.run(told.tasks.guarded(failing()))
    assert told.checkpoint() == []
    assert told.log == []


async def failing() -> None:
    raise RuntimeError("at once")


def during(
    told: Checkpointed, action: Callable[[], Coroutine[Any, Any, None]]
) -> list[FailedPartition]:
    """Checkpoint, and do something while outputs are delivered."""
    told.deliver = action  # type: ignore[method-assign]
    return told.checkpoint()


def test_offsets_of_a_partition_revoked_in_the_meantime_are_not_committed() -> None:
    told = Checkpointed()

    async def revoke() -> None:
        told.partitions.revoke({TP(TOPIC, 0)})

    assert during(told, revoke) == []
    assert offsets(told.partitions.committable) == {1: 5}


def test_steps_go_on_while_outputs_are_delivered() -> None:
    told = Checkpointed()

    async def step() -> None:
        async with told.partitions.stepping:
            told.log.append("step")

    assert during(told, step) == []
    assert told.log[:3] == ["hold", "step", "release"]
