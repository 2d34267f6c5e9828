"""Batched transport for Faust: an agent receives a `RecordBatch`, not a message.

Faust's cost is per message, about 70 µs; here a message is a batch of a partition. Consumer group,
assignment, pause and resume, back-pressure and rebalance stay Faust's. The overrides rely on
faust-streaming 0.15.3 with aiokafka 0.14, as named at each; `versions.check_versions` refuses
others.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.tuples import ack_lock
from mode import Service
from mode.utils.futures import notify

from streams.engine.batch import BatchOwner, RawRecord, RecordBatch, cut
from streams.engine.faust.consumer_thread import ConsumerThread
from streams.engine.fetcher import RecordFetcher
from streams.engine.open_transactions import OpenTransactions

__all__ = ["BatchConsumer", "BatchTransport"]

WATCH_S = 1.0
FETCH_S = 0.1  # longest fetch, after which the set of ready partitions is asked for again


class BatchConsumer(driver.Consumer):
    """Faust's consumer with batches for messages; the runner decides committable offsets."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app: Any = self.app
        self.owner: BatchOwner = app.owner
        self._most_records: int = app.settings.batch_records
        self._most_bytes: int = app.settings.batch_bytes
        self._asked = False  # for records, since the last check of the group
        # The group's own id: with ACLs, the principal that reads its topics may name it.
        config = {**app.client_config, "group.id": app.conf.id}
        traced = app.settings.traces != ""
        most = self._most_records, self._most_bytes
        self._fetcher = RecordFetcher(config, *most, traced=traced)
        self._transactions = OpenTransactions()

    def _new_consumer_thread(self) -> ConsumerThread:
        # Faust 0.15.3, aiokafka.py:235.
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109  # Faust's
        # Faust 0.15.3, consumer.py:803, fetches the active partitions by aiokafka. Here those
        # whose state is not rebuilt yet are left out, whatever Faust resumes.
        active = self.owner.ready(active_partitions or set())
        self._asked = True
        records = await self._fetcher.fetch(active, min(timeout, FETCH_S))
        for tp, run in records.items():
            self.owner.fetched(tp, run.records[-1].offset + 1)
        for tp, end in self._fetcher.take_ends().items():
            self.owner.reached(tp, end)
        return records

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to the offsets that the group committed (Faust 0.15.3, consumer.py:1441)."""
        committed: Mapping[Any, int] = await super().seek_to_committed()
        self._fetcher.seek({TP(*tp): offset for tp, offset in committed.items()})
        return committed

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek to these offsets (Faust 0.15.3, consumer.py:1449)."""
        self._fetcher.seek(partitions)
        self._read_offset.update(partitions)

    def highwater(self, tp: TP) -> int:
        """High-water mark of a partition (Faust 0.15.3, consumer.py:1460, asks aiokafka)."""
        return self._fetcher.end(tp)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust 0.15.3, aiokafka.py:299, checks on fetches of aiokafka; there are none."""

    @Service.task
    async def _watch_group(self) -> None:
        async for _ in self.itertimer(WATCH_S, name="group"):
            alive = self._asked or not self._active_partitions  # else the agent is stuck
            self._asked = False
            self._note_held_back()
            await self._thread.call_thread(self._thread.check_group, alive)

    def _note_held_back(self) -> None:
        held = self._fetcher.held_back()
        self._transactions.note(held, time.monotonic())
        for tp, (end, count) in held.items():
            self.owner.reached(tp, end, count)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  # Faust's
        """Fetch; one message per batch.

        Faust 0.15.3, consumer.py:704: one per record. It drops what was fetched while the flow
        was stopped and seeks to the committed offsets; here to the first record dropped.
        """
        found, _ = await self._wait_next_records(timeout)
        records: Mapping[TP, Any] = found or {}  # runs, by `_getmany`
        generation = self.app.consumer_generation_id
        if not records or self.should_stop:
            return
        if not self.flow_active:
            self._fetcher.seek({tp: run.follows for tp, run in records.items()})
            return
        for tp, (follows, fetched) in records.items():
            after = follows
            self._read_offset[tp] = follows  # else Faust drops those of a log that was made anew
            for chunk in cut(fetched, self._most_records, self._most_bytes):
                if generation != self.app.consumer_generation_id or not self.flow_active:
                    return
                yield tp, self._batch_message(tp, after, chunk, generation)
                after = chunk[-1].offset + 1

    def _batch_message(
        self, tp: TP, follows: int, chunk: Sequence[RawRecord], generation: int
    ) -> Any:
        # Where the log begins is told later than the fetch, and may have passed what it fetched.
        begin, end = min(self._fetcher.begin(tp), chunk[0].offset), self.highwater(tp)
        batch = RecordBatch(tp.topic, tp.partition, generation, follows, chunk, end, begin)
        # The last offset: Faust drops messages below the offset read before (consumer.py:1206).
        message: Any = ConsumerMessage  # its value is a batch
        return message(
            tp.topic,
            tp.partition,
            batch.next_offset - 1,
            chunk[-1].timestamp / 1000,
            timestamp_type=0,
            headers=None,
            key=None,
            value=batch,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=generation,
        )

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch this partition again from `offset` on."""
        await self.seek_wait({tp: offset})

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: the fetch loop waits for room in the buffer.

        Faust 0.15.3, consumer.py:579, pauses the partition; with all paused, it sleeps for a
        second (consumer.py:809).
        """

    def ack(self, message: Any) -> bool:
        """Mark a batch as processed by the agent; its offset is not committable by that.

        Faust 0.15.3, consumer.py:825, also lists the offset for `_new_offset`.
        """
        with ack_lock:
            message.acked = True
            self._unacked_messages.discard(message)
            notify(self._waiting_for_ack)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: offsets between two batches are no gap (consumer.py:1151)."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        # Faust 0.15.3, consumer.py:1082: those with acked messages.
        return (tp for tp in self.owner.committable() if topics is None or tp in topics)

    def _new_offset(self, tp: TP) -> int | None:
        # Faust 0.15.3, consumer.py:1098: the end of the first run of acked offsets.
        return self.owner.committable().get(tp)

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        # Faust 0.15.3, consumer.py:1073, counts offsets as committed though the commit failed.
        before = {tp: self._committed_offset[tp] for tp in offsets}
        done = await super()._commit_offsets(offsets, start_new_transaction)
        if not done:
            self._committed_offset.update(before)
        return done

    async def wait_empty(self) -> None:
        """Wait for the agent, checkpoint, and commit.

        Faust 0.15.3 calls this before partitions are revoked (base.py:1826) and when it stops
        (base.py:1740, consumer.py:907); the stock version (consumer.py:865) waits and commits.
        """
        await super().wait_empty()
        await self.owner.checkpoint()
        await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """As Faust (consumer.py:652), which calls `wait_empty`; then drop the state."""
        await super().on_partitions_revoked(revoked)
        self._fetcher.forget()
        await self.owner.revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """As Faust (consumer.py:679); state is rebuilt in the background, so heartbeats go on."""
        self._fetcher.forget()
        self.owner.assigned(assigned, generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_stop(self) -> None:
        """As Faust (aiokafka.py:293), which calls `wait_empty`; then close the fetcher."""
        await super().on_stop()
        await self._fetcher.close()


class BatchTransport(driver.Transport):
    """The aiokafka transport with batches."""

    Consumer = BatchConsumer
