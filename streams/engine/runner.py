"""One stage, run: batches in, outputs and state out, nothing lost and no state counted twice.

A batch is processed at once and its outputs are sent; `saver` checkpoints. When delivery or a save
fails, the partition is reset to its last save and processed again from there; `TRIES` failures in a
row stop the worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from faust.types import TP

from streams.engine.batch import RecordBatch
from streams.engine.crew import BackgroundTasks
from streams.engine.outbox import StageOutbox
from streams.engine.partition import ChangelogConfig, OwnedPartition
from streams.engine.producer import TransactionalWriter, WriterFenced
from streams.engine.saver import PartitionCheckpointer
from streams.engine.steps import StageSteps
from streams.engine.store import PartitionStore
from streams.engine.world import StageWiring, StageWorld
from streams.errors import BrokerUnreachable, DeliveryFailed
from streams.flow.topology import StageRow, changelog
from streams.settings import Settings
from streams.stages.base import Stage

__all__ = ["StageRunner"]

logger = logging.getLogger(__name__)

TRIES = 5
TURN_S = 0.005  # after so long in a batch others get their turn


class StageRunner:
    """Runs one stage on the partitions that this worker owns."""

    def __init__(
        self, stage: Stage[Any], row: StageRow, settings: Settings, wiring: StageWiring
    ) -> None:
        self.stage, self.row, self.settings, self._wiring = stage, row, settings, wiring
        self._steps = StageSteps(stage, wiring.codec)
        self._saved = ChangelogConfig(
            topic=settings.topic(changelog(row.name)),
            group=settings.group(row.name),
            client_config=wiring.client_config,
            producer_config=wiring.producer_config,
            empty=lambda: PartitionStore(stage.encode, stage.decode, settings.state_keys),
        )
        self._names = {settings.topic(name): name for name in row.reads}
        self._outbox = StageOutbox(settings, wiring)
        self._world = StageWorld({name: wiring.views[name] for name in row.views})
        self._owned = dict[int, OwnedPartition]()
        self._crew = BackgroundTasks(row.name)
        self._stepping = asyncio.Lock()  # one batch, tick or start of a save at a time
        self._saver = PartitionCheckpointer(
            row.name,
            settings,
            wiring.meter,
            crew=self._crew,
            outbox=self._outbox,
            steps=self._steps,
            owned=self._owned,
            stepping=self._stepping,
            put_back=self._put_back,
        )
        self._rewind: Callable[[TP, int], Awaitable[None]]

    # ------------------------------------------------------------------- life

    def start(
        self,
        rewind: Callable[[TP, int], Awaitable[None]],
        crash: Callable[[BaseException], Awaitable[None]],
    ) -> None:
        """Begin to save, and to tick when the clock is the wall's.

        Parameters
        ----------
        rewind
            Fetches a partition again from an offset.
        crash
            Stops the worker.
        """
        self._rewind, self._crew.crash = rewind, crash
        self._crew.spawn(self._saver.run())
        if self.settings.clock == "wall":
            self._crew.spawn(self._tick_regularly())

    async def stop(self) -> None:
        """Stop; `settle` has saved before."""
        await self.revoked({TP(name, n) for name in self._names for n in self._owned})
        await self._crew.stop()

    # ------------------------------------------------------------------- ownership

    def ready(self, tps: set[TP]) -> set[TP]:
        """Those that may be fetched: their state is there and not too much of it unsaved."""
        return {tp for tp in tps if self._may_fetch(self._owned.get(tp.partition))}

    def _may_fetch(self, owned: OwnedPartition | None) -> bool:
        if owned is None or not owned.ready:
            return False
        full = self._saver.full(owned)
        if full:
            self._saver.wake()
        return not full

    def settled(self) -> Mapping[TP, int]:
        """The committable offset of each partition: all before it is delivered and saved."""
        return self._saver.settled

    async def settle(self) -> None:
        """Deliver outputs and save state up to here, unless the worker has failed."""
        await self._crew.guarded(self._saver.save())

    def assigned(self, tps: set[TP], generation: int) -> None:
        """Take ownership of these partitions and rebuild their state."""
        numbers = {tp.partition for tp in tps if tp.topic in self._names}
        for number in numbers - self._owned.keys():
            self._owned[number] = owned = OwnedPartition(number, generation, self._saved.empty())
            self._crew.spawn(self._open(owned, 0.0))

    async def revoked(self, tps: set[TP]) -> None:
        """Give up ownership of these partitions and drop their state."""
        for tp in tps:
            self._saver.settled.pop(tp, None)
            owned = self._owned.pop(tp.partition, None)
            if owned is not None:
                owned.revoked, owned.ready = True, False

    async def _open(self, owned: OwnedPartition, delay_s: float) -> None:
        """Fence the earlier owner, rebuild the state, and process again what was not saved."""
        while not owned.revoked:
            await asyncio.sleep(delay_s)
            try:
                writer, store = await self._crew.call_long(owned.open, self._saved)
            except (DeliveryFailed, BrokerUnreachable) as error:
                delay_s = self._failed(owned, error)
                continue
            async with self._stepping:
                if not owned.revoked:
                    await self._resume(owned, writer, store)
            return

    async def _resume(
        self, owned: OwnedPartition, writer: TransactionalWriter, store: PartitionStore[Any]
    ) -> None:
        for tp, offset in self._saver.settled.items():
            if tp.partition == owned.number:  # offsets may move without a change of state to save
                name = self._names[tp.topic]
                store.position[name] = max(store.position.get(name, 0), offset)
        owned.writer, owned.store = writer, store
        for batch in owned.take_back():
            await self._accept(owned, batch)
        owned.ready = True

    def _put_back(self, owned: OwnedPartition, error: Exception) -> None:
        """Reset to the last save, and process again from there."""
        owned.ready = False
        self._crew.spawn(self._open(owned, self._failed(owned, error)))

    def _failed(self, owned: OwnedPartition, error: Exception) -> float:
        """Seconds to wait after one more failure in a row, unless it is one too many."""
        owned.failures += 1
        logger.warning(
            "%s[%d], try %d of %d: %s", self.row.name, owned.number, owned.failures, TRIES, error,
            extra={"action": "batch_failed"},
        )  # fmt: skip
        if owned.failures >= TRIES:
            raise error
        # Who is fenced has most likely been given up for dead: it hears so before it tries again.
        fenced = isinstance(error, WriterFenced)
        return self.settings.session_ms / 1000 if fenced else 0.2 * 2.0**owned.failures

    # ------------------------------------------------------------------- batches

    async def take(self, batch: RecordBatch) -> None:
        """Take a batch in; this is all that an agent does."""
        await self._crew.guarded(self._take(batch))

    async def _take(self, batch: RecordBatch) -> None:
        await self._look(batch.fetched_s - self.row.stale_ms / 1000)
        async with self._stepping:
            owned = self._owned.get(batch.partition)
            if owned is None or owned.generation != batch.generation:
                return  # fetched before a rebalance: whoever owns it now fetches it again
            if owned.ready:
                await self._accept(owned, batch)
            else:
                owned.keep(batch)

    async def _look(self, as_of_s: float) -> bool:
        """See the world as it was then, at least; whether that took another look."""
        if not self.row.views or as_of_s <= self._world.seen_s:
            return False
        await self._crew.call(self._world.look, as_of_s, TRIES * self.settings.delivery_ms / 1000)
        return True

    async def _accept(self, owned: OwnedPartition, batch: RecordBatch) -> None:
        name = self._names[batch.topic]
        at = owned.store.position.get(name)
        if at is not None and (batch.follows or 0) > at:
            logger.warning("%s[%d] goes on at %d again", batch.topic, batch.partition, at)
            await self._rewind(TP(batch.topic, batch.partition), at)
            return
        owned.keep(batch)
        outcomes = await self._step_through(owned, name, batch, at or 0)
        owned.store.position[name] = max(at or 0, batch.next_offset)
        for outcome, count in outcomes.items():
            self._wiring.meter.records(self.row.name, name, outcome, count)
        self._wiring.meter.lag(self.row.name, owned.number, owned.lag(batch))

    async def _step_through(
        self, owned: OwnedPartition, name: str, batch: RecordBatch, at: int
    ) -> Mapping[str, int]:
        turn, take, state = time.monotonic() + TURN_S, self._steps.take, owned.store
        context, outcomes = self._world.context(owned.number, -1), Counter[str]()
        for record in batch.records:
            if record.offset < at:
                outcomes["repeated"] += 1
                continue
            if record.timestamp != context.record_ms:
                context = self._world.context(owned.number, record.timestamp)
            outcome, made, others = take(name, record, state, context)
            self._outbox.put(others)
            if outcome == "dead" and await self._look(batch.fetched_s):
                context = self._world.context(owned.number, record.timestamp)
                outcome, made, others = take(name, record, state, context)
                self._outbox.put(others)
            outcomes[outcome] += 1
            self._outbox.put(made)
            if time.monotonic() > turn:
                self._outbox.send()
                await asyncio.sleep(0)
                turn = time.monotonic() + TURN_S
        self._outbox.send()
        return outcomes

    # ------------------------------------------------------------------- time

    async def _tick_regularly(self) -> None:
        while True:
            await asyncio.sleep(self.settings.tick_ms / 1000)
            await self._look(time.monotonic())
            async with self._stepping:
                for owned in [o for o in self._owned.values() if o.ready]:
                    context = self._world.context(owned.number, time.time_ns() // 1_000_000)
                    self._outbox.put(self._steps.tick(context.record_ms, owned.store, context))
                self._outbox.send()
