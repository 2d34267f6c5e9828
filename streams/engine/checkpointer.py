"""Checkpoints a stage: outputs, then state, then offsets (`PartitionCheckpointer.checkpoint`).

After a crash between steps 2 and 3 the same records are processed again on the same state, and the
same outputs, with the same ids, are sent again; after one between 3 and 4 the saved position says
that the records were processed already.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from streams.engine.background import BackgroundTasks
from streams.engine.outbox import Output, StageOutbox
from streams.engine.ownership import OwnedPartitions
from streams.engine.partition import OwnedPartition
from streams.engine.producer import Row
from streams.engine.stage_steps import StageSteps
from streams.engine.stage_wiring import StageMeter
from streams.errors import DeliveryFailed

__all__ = ["SLICES", "FailedPartition", "PartitionCheckpointer"]

SLICES = 4  # checkpoints in `commit_ms`, of every fourth partition each: encoding blocks all steps


class PartitionSnapshot(NamedTuple):
    """What a checkpoint writes of one partition."""

    owned: OwnedPartition
    rows: Sequence[Row]
    position: Mapping[str, int]  # topic without prefix -> offset of the next record


class FailedPartition(NamedTuple):
    """A partition that has to go back to its last checkpoint, and why; it is suspended."""

    owned: OwnedPartition
    error: DeliveryFailed


class PartitionCheckpointer:
    """Checkpoints the partitions of one stage.

    Parameters
    ----------
    stage
        Its name.
    meter
        Told how long each batch took from being fetched to being saved.
    tasks
        Where threads come from; once one of them has failed, nothing is saved any more.
    outbox
        Holds outputs back, and delivers them.
    steps
        Says which records left values that cannot be encoded.
    partitions
        Those that are checkpointed.
    """

    def __init__(
        self,
        stage: str,
        meter: StageMeter,
        *,
        tasks: BackgroundTasks,
        outbox: StageOutbox,
        steps: StageSteps[Output],
        partitions: OwnedPartitions,
    ) -> None:
        self._stage, self._meter, self._tasks = stage, meter, tasks
        self._outbox, self._steps, self._partitions = outbox, steps, partitions
        self._checkpointing = asyncio.Lock()  # one checkpoint at a time
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """End `wait` at once: too much is unsaved."""
        self._wake.set()

    async def wait(self, due_s: float) -> None:
        """Wait until the next checkpoint is due (monotonic), or `wake` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(due_s - time.monotonic()):
                await self._wake.wait()
        self._wake.clear()

    async def checkpoint(self, turn: int | None = None) -> list[FailedPartition]:
        """Checkpoint partitions, in an order in which a crash at any point loses nothing.

        Parameters
        ----------
        turn
            Those of this slice, and those that are full; None: all.

        Returns
        -------
        list of FailedPartition
            Those whose outputs or rows were not delivered.
        """
        async with self._checkpointing:
            async with self._partitions.stepping:
                due = [owned for owned in self._partitions.ready() if self._due(owned, turn)]
                # After a failure the state may include records whose outputs were never sent.
                if self._tasks.failed or not due:
                    return []
                # 1. Encode the changed rows; outputs of the steps from here on are held back.
                snapshots = [self._snapshot(owned) for owned in due]
                self._outbox.hold()
            # 2. Deliver every output from before; those held back may follow.
            try:
                await self._outbox.deliver()
            except DeliveryFailed as error:
                return await self._drop_outputs(error)
            self._outbox.release()
            if self._tasks.failed:
                return []
            # 3. Write rows and input position of each partition, in one transaction.
            errors = await asyncio.gather(*map(self._write, snapshots))
            # 4. Make the offsets committable; Faust commits them.
            results = list(zip(snapshots, errors, strict=True))
            for snapshot in [snapshot for snapshot, error in results if error is None]:
                self._mark_committable(snapshot)
            return [
                FailedPartition(each.owned, error) for each, error in results if error is not None
            ]

    def _due(self, owned: OwnedPartition, turn: int | None) -> bool:
        its_turn = turn is None or owned.number % SLICES == turn or self._partitions.full(owned)
        return its_turn and owned.changed

    def _snapshot(self, owned: OwnedPartition) -> PartitionSnapshot:
        """What to write; a record that left a value that cannot be encoded is dead-lettered."""
        self._outbox.put(self._steps.checkpoint(owned.store))
        return PartitionSnapshot(owned, owned.store.save(), dict(owned.store.position))

    async def _drop_outputs(self, error: DeliveryFailed) -> list[FailedPartition]:
        """Drop what is on its way: whose outputs were lost is not known, so all are reset."""
        async with self._partitions.stepping:
            self._outbox.drop()
            return [_suspended(owned, error) for owned in self._partitions.ready()]

    async def _write(self, snapshot: PartitionSnapshot) -> DeliveryFailed | None:
        owned = snapshot.owned
        if snapshot.rows and owned.writer is not None:
            try:
                await self._tasks.call(owned.writer.write, snapshot.rows)
            except DeliveryFailed as error:
                owned.suspend()  # at once, not when the other partitions are written
                return error
        return None

    def _mark_committable(self, snapshot: PartitionSnapshot) -> None:
        for fetched_s in self._partitions.mark_committable(snapshot.owned, snapshot.position):
            self._meter.batch(self._stage, time.monotonic() - fetched_s)


def _suspended(owned: OwnedPartition, error: DeliveryFailed) -> FailedPartition:
    owned.suspend()
    return FailedPartition(owned, error)
