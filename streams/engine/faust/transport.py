"""Batched transport for Faust: an agent receives a `RecordBatch`, not a message.

Faust's cost is per message, about 70 µs; here a message is everything fetched of a partition.
Consumer group, assignment, pause and resume, back-pressure and rebalance stay Faust's. What is
relied on is the behaviour of faust-streaming 0.15.3 with aiokafka 0.14, named at each override;
`versions.check_versions` refuses others.
"""

from __future__ import annotations

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

__all__ = ["BatchConsumer", "BatchTransport"]

WATCH_S = 1.0
FETCH_S = 0.1  # a partition that may be fetched again is, after so long


class BatchConsumer(driver.Consumer):
    """Faust's consumer, with batches for messages and the owner's word for how far they are done."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app: Any = self.app
        self.owner: BatchOwner = app.owner
        self._most_records: int = app.settings.batch_records
        self._most_bytes: int = app.settings.batch_bytes
        self._fetched: dict[TP, int] = {}  # offset after the last record handed on
        self._asked = False  # for records, since the group was last looked at
        # The group's own id: who may read its topics may name it, where Kafka has ACLs.
        config = {**app.client_config, "group.id": app.conf.id}
        self._fetcher = RecordFetcher(config, self._most_records, self._most_bytes)

    def _new_consumer_thread(self) -> ConsumerThread:
        # Faust 0.15.3, aiokafka.py:235.
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109  # Faust's
        # Faust 0.15.3, consumer.py:803, asks for the active partitions, and aiokafka for them.
        # Those whose state is not there yet are left out, whatever else Faust resumes.
        active = self.owner.ready(active_partitions or set())
        self._asked = True
        return await self._fetcher.fetch(active, min(timeout, FETCH_S))

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go on where the group has committed (Faust 0.15.3, consumer.py:1441)."""
        committed: Mapping[Any, int] = await super().seek_to_committed()
        self._fetcher.seek({TP(*tp): offset for tp, offset in committed.items()})
        return committed

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Go on at these offsets (Faust 0.15.3, consumer.py:1449)."""
        self._fetcher.seek(partitions)
        self._read_offset.update(partitions)

    def highwater(self, tp: TP) -> int:
        """The end of a partition (Faust 0.15.3, consumer.py:1460, asks aiokafka)."""
        return self._fetcher.end(tp)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: Faust 0.15.3, aiokafka.py:299, looks at what aiokafka fetched, which is none."""

    @Service.task
    async def _watch_group(self) -> None:
        async for _ in self.itertimer(WATCH_S, name="group"):
            alive = self._asked or not self._active_partitions  # or the agent takes no more
            self._asked = False
            await self._thread.call_thread(self._thread.check_group, alive)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  # Faust's
        """Fetch; a message for each batch.

        Faust 0.15.3, consumer.py:704: one for each record. There, after what was fetched while
        the flow was stopped, it seeks to the committed offsets; here to where that began.
        """
        records, _ = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if not records or self.should_stop:
            return
        if not self.flow_active:
            self._fetcher.seek({tp: fetched[0].offset for tp, fetched in records.items()})
            return
        for tp, fetched in records.items():
            for chunk in cut(fetched, self._most_records, self._most_bytes):
                if generation != self.app.consumer_generation_id or not self.flow_active:
                    return
                yield tp, self._batch_message(tp, chunk, generation)

    def _batch_message(self, tp: TP, chunk: Sequence[RawRecord], generation: int) -> Any:
        follows = self._fetched.get(tp)
        batch = RecordBatch(tp.topic, tp.partition, generation, follows, chunk, self.highwater(tp))
        self._fetched[tp] = batch.next_offset
        # The last offset: Faust drops a message below the offset it read before (consumer.py:1206).
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

    async def perform_seek(self) -> None:
        """Seek to the committed offsets; what comes next follows nothing (consumer.py:622)."""
        self._fetched.clear()
        await super().perform_seek()

    async def rewind(self, tp: TP, offset: int) -> None:
        """Fetch this partition again from `offset` on."""
        self._fetched.pop(tp, None)
        await self.seek_wait({tp: offset})

    def on_buffer_full(self, tp: TP) -> None:
        """Leave the partition as it is: the loop that fetches waits for room in the buffer.

        Faust 0.15.3, consumer.py:579, stops fetching it; and when it has stopped all, it sleeps
        for a second (consumer.py:809).
        """

    def ack(self, message: Any) -> bool:
        """The agent has taken the batch; this says nothing about its offset.

        Faust 0.15.3, consumer.py:825, also files the offset in lists that `_new_offset` empties.
        """
        with ack_lock:
            message.acked = True
            self._unacked_messages.discard(message)
            notify(self._waiting_for_ack)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets between two batches are no gap (consumer.py:1151)."""

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
        """Wait for the agent, then finish and commit what it did.

        Faust 0.15.3 calls this before partitions are given up (base.py:1826) and when it stops
        (base.py:1740, consumer.py:907); the stock version (consumer.py:865) waits and commits.
        """
        await super().wait_empty()
        await self.owner.checkpoint()
        await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """As Faust (consumer.py:652), which ends in `wait_empty`; then let go of the state."""
        await super().on_partitions_revoked(revoked)
        self._fetcher.forget()
        await self.owner.revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """As Faust (consumer.py:679); the state is fetched aside, or heartbeats would stop."""
        self._fetched.clear()
        self._fetcher.forget()
        self.owner.assigned(assigned, generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_stop(self) -> None:
        """As Faust (aiokafka.py:293), which ends in `wait_empty`; then fetch no more."""
        await super().on_stop()
        await self._fetcher.close()


class BatchTransport(driver.Transport):
    """The aiokafka transport with batches."""

    Consumer = BatchConsumer
