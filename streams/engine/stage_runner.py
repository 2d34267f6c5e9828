"""Runs one stage: batches in, outputs and state out; nothing is lost, nothing counted twice.

A batch is processed at once and its outputs are sent; `checkpointer` checkpoints. When that fails,
the partition is processed again from its last checkpoint; `TRIES` failures in a row stop the worker.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from itertools import cycle
from typing import Any

from faust.types import TP

from streams.broker.topic_ids import TopicIds
from streams.engine.background import BackgroundTasks
from streams.engine.batch import BareEnd, RecordBatch
from streams.engine.checkpointer import SLICES, PartitionCheckpointer
from streams.engine.losses import tell_gap, tell_loss
from streams.engine.ownership import OwnedPartitions
from streams.engine.partition import ChangelogConfig, OwnedPartition
from streams.engine.partition_store import PartitionStore
from streams.engine.producer import TransactionalWriter, WriterFenced
from streams.engine.stage_wiring import StageWiring, StageWorld, observed
from streams.engine.traced_steps import outbox_of, steps_of
from streams.errors import BrokerUnreachable, DeliveryFailed
from streams.flow.declaration import StageRow
from streams.flow.topology import TOPICS, changelog
from streams.runtime.clock import wall_ms
from streams.settings import Settings
from streams.stages.base import Stage

__all__ = ["StageRunner"]

logger = logging.getLogger(__name__)

TRIES = 5
TURN_S = 0.005  # a batch lets other tasks run after so long


class StageRunner:
    """Runs one stage on the partitions that this worker owns."""

    def __init__(
        self, stage: Stage[Any], row: StageRow, settings: Settings, wiring: StageWiring
    ) -> None:
        self.stage, self.row, self.settings, self._wiring = stage, row, settings, wiring
        self._names = {settings.topic(name): name for name in row.reads}
        self._changelog = ChangelogConfig(
            topic=settings.topic(changelog(row.name)),
            group=settings.group(row.name),
            client_config=wiring.client_config,
            producer_config=wiring.producer_config,
            empty=lambda: PartitionStore(stage.encode, stage.decode, settings.state_keys),
            topics=TopicIds(wiring.client_config, self._names).now,
        )
        self._outbox = outbox_of(settings, wiring)
        pack = observed(self._outbox.pack, wiring.meter.observer(row.name))
        self.steps = steps_of(settings, stage, wiring, pack)
        self._world = StageWorld({name: wiring.views[name] for name in row.views})
        self._tasks = BackgroundTasks(row.name)
        self._partitions = OwnedPartitions(settings, self._names, self._changelog, row.first)
        self._checkpointer = PartitionCheckpointer(
            row.name,
            wiring.meter,
            tasks=self._tasks,
            outbox=self._outbox,
            steps=self.steps,
            partitions=self._partitions,
        )
        self._rewind: Callable[[TP, int], Awaitable[None]]

    # ------------------------------------------------------------------- life

    def start(
        self,
        rewind: Callable[[TP, int], Awaitable[None]],
        crash: Callable[[BaseException], Awaitable[None]],
    ) -> None:
        """Begin to checkpoint, and to tick when the clock is the wall's.

        Parameters
        ----------
        rewind
            Fetches a partition again from an offset.
        crash
            Stops the worker.
        """
        self._rewind = rewind
        self._tasks.on_failure(crash)
        self._tasks.spawn(self._checkpoint_regularly())
        if self.settings.clock == "wall":
            self._tasks.spawn(self._tick_regularly())

    async def stop(self) -> None:
        """Stop, without a last checkpoint."""
        self._partitions.revoke_all()
        await self._tasks.stop()

    # ------------------------------------------------------------------- ownership

    def ready(self, tps: set[TP]) -> set[TP]:
        """Those that may be fetched: state and what is read first are there, little is unsaved."""
        return {tp for tp in tps if self._may_fetch(tp)}

    def _may_fetch(self, tp: TP) -> bool:
        owned = self._partitions.get(tp.partition)
        if owned is None or not owned.ready:
            return False
        if not owned.first.read and self._names[tp.topic] not in self.row.first:
            return False
        full = self._partitions.full(owned)
        if full:
            self._checkpointer.wake()
        return not full

    def assigned(self, tps: set[TP], generation: int) -> None:
        """Take ownership of these partitions and rebuild their state."""
        for owned in self._partitions.assign(tps, generation):
            self._tasks.spawn(self._open(owned, 0.0))

    async def revoked(self, tps: set[TP]) -> None:
        """Give up ownership of these partitions and drop their state."""
        self._partitions.revoke(tps)
        for tp in tps:
            self._wiring.meter.left(self.row.name, tp.partition)

    async def _open(self, owned: OwnedPartition, delay_s: float) -> None:
        """Fence the earlier owner, rebuild the state, and process again what was not saved."""
        while not owned.revoked:
            await asyncio.sleep(delay_s)
            try:
                opened = await self._tasks.call_long(owned.open, self._changelog)
            except (DeliveryFailed, BrokerUnreachable) as error:
                delay_s = self._backoff_s(owned, error)
                continue
            async with self._partitions.stepping:
                if opened and not owned.revoked:
                    await self._resume(owned, *opened)
            return

    async def _resume(
        self, owned: OwnedPartition, writer: TransactionalWriter, store: PartitionStore[Any]
    ) -> None:
        owned.reset(writer, store, self._partitions.committable_of(owned.number))
        for batch in owned.take_back():
            await self._accept(owned, batch)
        owned.resume()

    def _backoff_s(self, owned: OwnedPartition, error: Exception) -> float:
        """Seconds to wait after one more failure in a row; raises it if it is one too many."""
        failures = owned.count_failure()
        logger.warning(
            "%s[%d], try %d of %d: %s", self.row.name, owned.number, failures, TRIES, error,
            extra={"action": "batch_failed"},
        )  # fmt: skip
        if failures >= TRIES:
            raise error
        # A fenced worker has most likely left the group unawares: it hears of that before it
        # fences the new owner in turn.
        fenced = isinstance(error, WriterFenced)
        return self.settings.session_ms / 1000 if fenced else 0.2 * 2.0**failures

    # ------------------------------------------------------------------- checkpoints

    def committable(self) -> Mapping[TP, int]:
        """Offset of each partition before which everything is delivered and saved."""
        return self._partitions.committable

    async def checkpoint(self) -> None:
        """Deliver outputs and save state up to here, unless the worker has failed.

        Goes on when the caller is cancelled: what was encoded and not written would be lost.
        """
        await asyncio.shield(self._tasks.spawn(self._checkpoint()))

    async def _checkpoint_regularly(self) -> None:
        for turn in cycle(range(SLICES)):
            due_s = time.monotonic() + self.settings.commit_ms / SLICES / 1000
            await self._checkpoint(turn)
            await self._checkpointer.wait(due_s)

    async def _checkpoint(self, turn: int | None = None) -> None:
        """Checkpoint; partitions of which that fails go back to the checkpoint before."""
        for owned, error in await self._checkpointer.checkpoint(turn):
            self._tasks.spawn(self._open(owned, self._backoff_s(owned, error)))

    # ------------------------------------------------------------------- batches

    async def take(self, batch: RecordBatch) -> None:
        """Process a batch; this is all that an agent does."""
        await self._tasks.guarded(self._take(batch))

    def fetched(self, tp: TP, next_offset: int) -> None:
        """Records of a partition were fetched, the last one before this offset."""
        if owned := self._partitions.get(tp.partition):
            owned.first.fetched(self._names[tp.topic], next_offset)

    def reached(self, tp: TP, end: BareEnd, held_back: int = 0) -> None:
        """A partition was fetched to its end; so many records behind that may not be read yet."""
        if owned := self._partitions.get(tp.partition):
            owned.first.reached(self._names[tp.topic])
            owned.lag.reach(tp.topic, *end, held_back)
            self._wiring.meter.lag(self.row.name, owned.number, owned.lag.records)

    async def _take(self, batch: RecordBatch) -> None:
        await self._refresh(batch.fetched_s - self.row.stale_ms / 1000)
        async with self._partitions.stepping:
            owned = self._partitions.get(batch.partition)
            if owned is None or owned.generation != batch.generation:
                return  # fetched before a rebalance: the new owner fetches it again
            if owned.ready:
                await self._accept(owned, batch)
            else:
                owned.keep(batch)

    async def _refresh(self, as_of_s: float) -> bool:
        """Have the views no older than this (monotonic); whether they were read again."""
        if not self.row.views or as_of_s <= self._world.refreshed_s:
            return False
        timeout_s = TRIES * self.settings.delivery_ms / 1000
        await self._tasks.call(self._world.refresh, as_of_s, timeout_s)
        return True

    async def _accept(self, owned: OwnedPartition, batch: RecordBatch) -> None:
        name = self._names[batch.topic]
        at = owned.store.position.get(name)
        if at is not None and batch.follows > at:
            logger.warning(
                "%s[%d] is fetched again from offset %d", batch.topic, batch.partition, at
            )
            await self._rewind(TP(batch.topic, batch.partition), at)
            return
        if at is not None and batch.begin_offset > at:
            self._wiring.meter.records(self.row.name, name, "lost", tell_gap(batch, at))
        if self._lacks_state(owned, name, batch):
            tell_loss(batch, self.row.name, self._changelog.topic)
            self._wiring.meter.records(self.row.name, name, "forgotten", 1)
        owned.keep(batch)
        outcomes = await self._step_through(owned, name, batch, at or 0)
        owned.store.position[name] = max(at or 0, batch.next_offset)
        for outcome, count in outcomes.items():
            self._wiring.meter.records(self.row.name, name, outcome, count)
        delay_ms = wall_ms() - batch.records[0].timestamp
        self._wiring.meter.delay(self.row.name, delay_ms / 1000)
        owned.lag.handle(batch.topic, batch.next_offset, batch.end_offset)
        self._wiring.meter.lag(self.row.name, owned.number, owned.lag.records)

    def _lacks_state(self, owned: OwnedPartition, name: str, batch: RecordBatch) -> bool:
        """Whether records were taken of which nothing is known; a compacted topic has gaps anyway."""
        kept = name in TOPICS and not TOPICS[name].compacted
        later = kept and batch.records[0].offset > batch.begin_offset
        return later and self.row.keeps and not owned.store.position

    async def _step_through(
        self, owned: OwnedPartition, name: str, batch: RecordBatch, at: int
    ) -> Mapping[str, int]:
        turn, take, state = time.monotonic() + TURN_S, self.steps.take, owned.store
        context, outcomes = self._world.context(owned.number, -1), Counter[str]()
        for record in batch.records:
            if record.offset < at:
                outcomes["repeated"] += 1
                continue
            if record.timestamp != context.record_ms:
                context = self._world.context(owned.number, record.timestamp)
            outcome, made, others = take(name, record, state, context)
            self._outbox.put(others)
            if outcome == "dead" and await self._refresh(batch.fetched_s):
                context = self._world.context(owned.number, record.timestamp)
                outcome, made, others = self.steps.take_again(name, record, state, context)
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
            await self._refresh(time.monotonic())
            async with self._partitions.stepping:
                for owned in self._partitions.ready():
                    if not owned.first.processed(owned.store.position):
                        continue
                    context = self._world.context(owned.number, wall_ms())
                    made, failed = self.steps.tick(context.record_ms, owned.store, context)
                    self._outbox.put(made)
                    self._wiring.meter.failed_ticks(self.row.name, owned.number, failed)
                self._outbox.send()
