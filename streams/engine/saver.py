"""Checkpoints a stage.

In this order:

1. the changed state is encoded; steps go on, but their outputs are held back;
2. every output of before is delivered, and those held back are on their way;
3. the encoded state and its input position are written in one transaction (see `store`);
4. the offsets become committable, and Faust commits them.

After a crash between 2 and 3 the same records are processed again on the same state, and the same
outputs, with the same ids, are sent again; after one between 3 and 4 the saved position says that
the records were processed already.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from faust.types import TP

from streams.engine.crew import BackgroundTasks
from streams.engine.outbox import StageOutbox
from streams.engine.partition import OwnedPartition
from streams.engine.steps import StageSteps
from streams.engine.world import StageMeter
from streams.errors import DeliveryFailed
from streams.settings import Settings

__all__ = ["PartitionCheckpointer"]

SLICES = 4  # saves in `commit_ms`, each of every fourth partition: while it encodes, none steps


class PartitionCheckpointer:
    """Saves the partitions of one stage, each every `commit_ms`.

    Parameters
    ----------
    stage
        Its name.
    owned
        Partitions by number; the runner's, changed by it.
    stepping
        Held while a batch or a tick is taken.
    put_back
        Called with a partition whose outputs or state could not be delivered, and why.
    """

    def __init__(
        self,
        stage: str,
        settings: Settings,
        meter: StageMeter,
        *,
        crew: BackgroundTasks,
        outbox: StageOutbox,
        steps: StageSteps,
        owned: Mapping[int, OwnedPartition],
        stepping: asyncio.Lock,
        put_back: Callable[[OwnedPartition, Exception], None],
    ) -> None:
        self._stage, self._settings, self._meter = stage, settings, meter
        self._crew, self._outbox, self._steps, self._owned = crew, outbox, steps, owned
        self._stepping, self._put_back = stepping, put_back
        self._saving = asyncio.Lock()  # one save at a time
        self._wake = asyncio.Event()
        self.settled: dict[TP, int] = {}  # committable offsets: all before is delivered and saved

    def full(self, owned: OwnedPartition) -> bool:
        """Whether so much of a partition is unsaved that a save comes first."""
        return owned.full(self._settings.batch_records, self._settings.batch_bytes)

    def wake(self) -> None:
        """Save now rather than when it is due: too much is unsaved."""
        self._wake.set()

    async def run(self) -> None:
        """Save regularly."""
        for turn in count():
            due_s = time.monotonic() + self._settings.commit_ms / SLICES / 1000
            await self.save(turn % SLICES)
            with suppress(TimeoutError):
                async with asyncio.timeout(due_s - time.monotonic()):
                    await self._wake.wait()
            self._wake.clear()

    async def save(self, turn: int | None = None) -> None:
        """Save the partitions whose turn it is and those that are full; without a turn, all."""
        async with self._saving:
            async with self._stepping:
                owned = [o for o in self._owned.values() if o.ready and self._due(o, turn)]
                # After a crash the state may include records whose outputs were never sent.
                if self._crew.failed or not owned:
                    return
                writes = [(o, self._rows(o), dict(o.store.position)) for o in owned]
                self._outbox.hold()
            if await self._delivered() and not self._crew.failed:
                await asyncio.gather(*(self._write(*write) for write in writes))

    def _due(self, owned: OwnedPartition, turn: int | None) -> bool:
        its_turn = turn is None or owned.number % SLICES == turn or self.full(owned)
        return its_turn and owned.changed

    def _rows(self, owned: OwnedPartition) -> Any:
        """The rows to write; a record that left a value which cannot be encoded is dead-lettered."""
        self._outbox.put(self._steps.checkpoint(owned.store))
        return owned.store.save()

    async def _delivered(self) -> bool:
        try:
            await self._outbox.deliver()
        except DeliveryFailed as error:
            async with self._stepping:
                self._outbox.drop()
                for one in [o for o in self._owned.values() if o.ready]:
                    self._put_back(one, error)
            return False
        self._outbox.release()
        return True

    async def _write(self, owned: OwnedPartition, rows: Any, position: Mapping[str, int]) -> None:
        if rows and owned.writer is not None:
            try:
                await self._crew.call(owned.writer.write, rows)
            except DeliveryFailed as error:
                self._put_back(owned, error)
                return
        owned.failures = 0
        if owned.revoked:
            return
        settled = {self._settings.topic(name): offset for name, offset in position.items()}
        self.settled |= {TP(topic, owned.number): offset for topic, offset in settled.items()}
        for taken_s in owned.forget(settled):
            self._meter.batch(self._stage, time.monotonic() - taken_s)
