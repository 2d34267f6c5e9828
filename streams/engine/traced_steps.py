"""Steps and outbox of a stage whose records carry traces; those of a worker without are plain."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from streams.engine.batch import RawRecord
from streams.engine.outbox import Output, StageOutbox
from streams.engine.partition_store import PartitionStore
from streams.engine.stage_steps import StageSteps, StepResult
from streams.engine.stage_wiring import StageWiring
from streams.records import Record
from streams.settings import Settings
from streams.stages.base import EventDriven, Stage, StepContext
from streams.tracing.traceparent import RecordHeaders, RecordPlace

if TYPE_CHECKING:
    from streams.tracing.record_tracer import RecordTracer

__all__ = ["TracedOutbox", "TracedSteps", "outbox_of", "steps_of"]

MOST_LINKS = 32  # records that the outputs of a tick are linked to


class TracedSteps(StageSteps[Output]):
    """Steps with a span around each record that carries a trace; its outputs carry it on.

    What a stage that gathers makes at a tick, or at a record without a trace, carries on the trace
    of the last record with one since it made something.
    """

    def __init__(
        self,
        tracer: RecordTracer,
        settings: Settings,
        stage: Stage[Any],
        wiring: StageWiring,
        pack: Callable[[Record], Output],
    ) -> None:
        super().__init__(stage, wiring.codec, pack, partitions=settings.partitions)
        self._tracer, self._settings, self._name = tracer, settings, stage.name
        self._gathers = not isinstance(stage, EventDriven)
        self._heard = defaultdict[int, deque[bytes]](lambda: deque(maxlen=MOST_LINKS))

    def take(
        self, topic: str, record: RawRecord, state: PartitionStore[Any], context: StepContext
    ) -> StepResult[Output]:
        """Process a record, see `StageSteps`."""
        parent: bytes = getattr(record, "traceparent", b"")
        if not parent:
            outcome, made, others = super().take(topic, record, state, context)
            return outcome, self._gathered(made, context), others
        name, group = self._settings.topic(topic), self._settings.group(self._name)
        place = RecordPlace(name, context.partition, record.offset, group)
        with self._tracer.processing(self._name, place, parent) as (span, headers):
            outcome, made, others = super().take(topic, record, state, context)
            span.set_attribute("foremesh.outcome", outcome)
            if outcome == "done":
                self._tracer.describe(span, self._read(record))
        if headers and self._gathers:
            self._heard[context.partition].append(headers[0][1])
        return outcome, [_carrying(output, headers) for output in made], others

    def tick(
        self, now_ms: int, state: PartitionStore[Any], context: StepContext
    ) -> tuple[Sequence[Output], int]:
        """Process a tick, see `StageSteps`."""
        made, failed = super().tick(now_ms, state, context)
        return self._gathered(made, context), failed

    def _gathered(self, made: Sequence[Output], context: StepContext) -> Sequence[Output]:
        """What came of all records since the last time."""
        heard = self._heard[context.partition]
        if not heard or not made:
            return made
        with self._tracer.ticking(self._name, heard) as headers:
            heard.clear()
            return [_carrying(output, headers) for output in made]


class TracedOutbox(StageOutbox):
    """An outbox some of whose records have headers."""

    def send(self) -> None:
        """Send the buffered records, unless they are held back."""
        if self._held:
            return
        for topic, rows in self._waiting.items():
            for row in rows:
                self._send(topic, *row)
        self._waiting.clear()

    def _send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: RecordHeaders = ()
    ) -> None:
        self._producer.send(topic, key, value, headers=headers)


def steps_of(
    settings: Settings, stage: Stage[Any], wiring: StageWiring, pack: Callable[[Record], Output]
) -> StageSteps[Output]:
    """The steps of a stage, traced where the worker has a tracer."""
    if wiring.tracer is None:
        return StageSteps(stage, wiring.codec, pack, partitions=settings.partitions)
    return TracedSteps(wiring.tracer, settings, stage, wiring, pack)


def outbox_of(settings: Settings, wiring: StageWiring) -> StageOutbox:
    """Its outbox."""
    return (StageOutbox if wiring.tracer is None else TracedOutbox)(settings, wiring)


def _carrying(output: Output, headers: RecordHeaders) -> Any:
    """An output that carries a trace: a row with headers behind key and value."""
    topic, row = output
    return (topic, (*row, headers)) if headers else output
