"""Runs the stages over a recorded log, in one thread and without Kafka."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from streams.adapters.avro import codec
from streams.engine.batch import RawRecord
from streams.engine.partition_store import PartitionStore
from streams.engine.partitioning import partition_of
from streams.engine.stage_steps import StageSteps
from streams.flow.declaration import StageRow
from streams.flow.topology import STAGES, TOPICS, key_of, topic_of
from streams.pipeline.assembly import stages_of
from streams.records import Instance, Record, Request
from streams.records.catalog import Catalog
from streams.records.control import STANDARD, Control
from streams.settings import Settings
from streams.stages.base import StepContext, believed_ms

__all__ = ["PackedRecord", "QueuedRecord", "ReplayedFlow", "at_price", "replay"]

GONE_FOR_MS = 3_600_000  # ended instances are forgotten after this time
JOURNAL = 2_000  # most records taken in between two checkpoints of a partition


class PackedRecord(NamedTuple):
    """What a step made; its bytes, if they are needed anyway."""

    record: Record
    encoded: bytes | None = None


class QueuedRecord(NamedTuple):
    """A record on its way to the readers of its topic; encoded on demand, if it is not yet."""

    record: Record
    encoded: bytes | None
    topic: str
    key: bytes | None
    partition: int
    offset: int
    timestamp: int

    @property
    def value(self) -> bytes:
        """The encoded record."""
        return codec.encode(self.record) if self.encoded is None else self.encoded


class TakenRecord(RawRecord, Protocol):
    """A record on its topic, encoded or not."""

    @property
    def topic(self) -> str:
        """The topic, without the prefix."""
        ...

    @property
    def partition(self) -> int:
        """Its partition."""
        ...


class ReplayedFlow:
    """The flow in memory: `feed` takes a record and gives all records that follow from it.

    Topics are queues in order, partitions and state as on Kafka, compacted topics are seen at
    once. After each record everything is carried through until nothing is left to do. The time of
    the log stands for the clock: it passes between requests, so the result is that of a live run
    to which the requests came when the log says.

    Parameters
    ----------
    settings
        Partitions, horizon, tick.
    catalog
        What the services are made of.
    received_ms
        When the records count as produced: what is far after it is refused. 0 to refuse nothing.
    timed
        Whether time passes between requests. Not so for stages that run apart in event time.
    pack
        Encodes what a step makes; one that fails leaves a dead letter. Unless it is given, only
        what is sent somewhere is encoded.
    stages
        The names of those that take part: all, unless it is given.
    serve_ms
        How long a request keeps an instance busy, until the log has said so. In a log that does not,
        nobody is busy: what has served is free at once, so no second instance is of any use.

    Attributes
    ----------
    stages
        By name.
    offsets
        By topic and partition: the offset of the next record that the flow makes.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog | None = None,
        *,
        received_ms: int = 0,
        timed: bool = True,
        pack: Callable[[Record], PackedRecord] = PackedRecord,
        stages: Collection[str] = STAGES,
        serve_ms: int = 0,
    ) -> None:
        self.settings = settings
        self.catalog = catalog or Catalog()
        self.instances: dict[str, Instance] = {}
        self._gone: deque[tuple[int, str]] = deque()  # those that ended: when, and id
        self.received_ms = received_ms
        self._timed = timed
        made = stages_of(replace(settings, serve_ms=serve_ms))
        self.stages = {name: stage for name, stage in made.items() if name in stages}
        read = attrgetter("record")
        self._steps = {
            name: StageSteps(stage, codec.installed(), pack, read, settings.partitions)
            for name, stage in self.stages.items()
        }
        self._state: dict[tuple[str, int], PartitionStore[Any]] = {}
        self._seen: Mapping[str, Instance] = {}  # the instances, as contexts have them
        self.offsets: dict[tuple[str, int], int] = {}
        self._due: dict[tuple[str, int], int] = {}  # by stage and partition: time of the next tick
        self._readers = {
            topic: [row for row in STAGES.values() if topic in row.reads and row.name in stages]
            for topic in TOPICS
        }

    def feed(self, record: Record) -> Iterator[Record]:
        """The record and all that follow from it, in order; first time passes up to it."""
        if isinstance(record, Request):
            yield from _records(self.advance(record.at_ms))
        yield from _records(self._carry(deque([self._publish(PackedRecord(record))])))

    def follow(self, queued: TakenRecord) -> Iterator[QueuedRecord]:
        """All records that follow from one that is on its topic already, in order."""
        yield from self._carry(deque(self._read(queued)))

    def advance(self, until_ms: int) -> Iterator[QueuedRecord]:
        """Let time pass: stages tick when they are due; the records that follow, in order."""
        until_ms = believed_ms(until_ms, self.received_ms)
        while self._due:
            due_ms, (stage, partition) = min(zip(self._due.values(), self._due, strict=True))
            if due_ms > until_ms:
                return
            state = self.state(stage, partition)
            context = self._context(STAGES[stage], partition)
            made, _ = self._steps[stage].tick(due_ms, state, context)
            self._plan(stage, partition, state)
            if self._due.get((stage, partition), due_ms + 1) <= due_ms:
                del self._due[stage, partition]  # it failed: the next event plans it anew
            yield from self._carry(deque([self._publish(record) for record in made]))

    def _carry(self, waiting: deque[QueuedRecord]) -> Iterator[QueuedRecord]:
        while waiting:
            queued = waiting.popleft()
            yield queued
            waiting.extend(self._read(queued))

    def _read(self, queued: TakenRecord) -> Iterator[QueuedRecord]:
        """Have every reader of its topic take a record; what they make of it."""
        for row in self._readers[queued.topic]:
            for made in self._step(row, queued):
                yield self._publish(made)

    def letters(self) -> list[Mapping[str, int]]:
        """Dead letters of each stage since the start, by kind of reason."""
        return [steps.letters for steps in self._steps.values()]

    def _plan(self, stage: str, partition: int, state: PartitionStore[Any]) -> None:
        """Note when a stage is to tick next in a partition."""
        due_ms = self.stages[stage].due(state)
        if due_ms is None:
            self._due.pop((stage, partition), None)
        else:
            self._due[stage, partition] = due_ms

    def state(self, stage: str, partition: int) -> PartitionStore[Any]:
        """The state of a stage in a partition."""
        found = self._state.get((stage, partition))
        if found is None:
            made = self.stages[stage]
            found = PartitionStore(made.encode, made.decode, self.settings.state_keys)
            self._state[stage, partition] = found
        return found

    @property
    def states(self) -> Mapping[tuple[str, int], PartitionStore[Any]]:
        """The states there are, by stage and partition."""
        return self._state

    def resume(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Go on with the states as they were loaded, and with these offsets of what is made."""
        self.offsets = dict(offsets)
        for (stage, partition), state in self._state.items():
            self._plan(stage, partition, state)

    def checkpoint(self) -> list[QueuedRecord]:
        """Make a checkpoint of every state; dead letters of what left values without bytes."""
        states = self._state.items()
        return [
            self._publish(letter)
            for (name, _), state in states
            for letter in self._steps[name].checkpoint(state)
        ]

    def _publish(self, packed: PackedRecord) -> QueuedRecord:
        record, encoded = packed
        topic, key = topic_of(record), key_of(record)
        partition = partition_of(key, self.settings.partitions)
        offset = self.offsets.get((topic, partition), 0)
        self.offsets[topic, partition] = offset + 1
        if isinstance(record, Instance):
            self.see(record)
        return QueuedRecord(record, encoded, topic, key, partition, offset, self.received_ms)

    def see(self, instance: Instance) -> None:
        """Update the view of instances, and forget those that ended long before."""
        self.instances[instance.instance_id] = instance
        self._seen = {}
        if instance.gone_ms is not None:
            self._gone.append((instance.gone_ms, instance.instance_id))
            while self._gone[0][0] < instance.gone_ms - GONE_FOR_MS:
                self.instances.pop(self._gone.popleft()[1], None)

    def _context(self, row: StageRow, partition: int) -> StepContext:
        """The context of a step; a snapshot, because the step may be taken again."""
        if "instances" not in row.views:
            return StepContext(partition, self.received_ms, self.catalog)
        self._seen = self._seen or dict(self.instances)
        return StepContext(partition, self.received_ms, self.catalog, self._seen)

    def _step(self, row: StageRow, queued: TakenRecord) -> Sequence[PackedRecord]:
        state = self.state(row.name, queued.partition)
        context = self._context(row, queued.partition)
        _, records, others = self._steps[row.name].take(queued.topic, queued, state, context)
        if self._timed:
            self._plan(row.name, queued.partition, state)
        if len(state.journal) >= JOURNAL:
            others = [*others, *self._steps[row.name].checkpoint(state)]
        return [*records, *others] if others else records


def _records(queued: Iterable[QueuedRecord]) -> Iterator[Record]:
    return (each.record for each in queued)


def at_price(price: float, catalog: Catalog) -> list[Control]:
    """The operator overrides that multiply the price of warm time, one a pool."""
    variant = replace(STANDARD, price=price)
    return [Control(pool=pool, variants=(variant,)) for pool in sorted(catalog.pools)]


def replay(
    requests: Iterable[Record], settings: Settings, catalog: Catalog | None = None
) -> Iterator[Record]:
    """Every record that a log leads to, in order, the requests themselves included."""
    flow = ReplayedFlow(settings, catalog)
    for request in requests:
        yield from flow.feed(request)
