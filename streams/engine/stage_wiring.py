"""What a runner is given: codec, Kafka, views of compacted topics, and a meter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from streams.engine.stage_steps import CodecProtocol
from streams.engine.topic_view import TopicView
from streams.records import Instance, Record
from streams.records.catalog import Catalog, CatalogEntry
from streams.stages.base import StepContext

if TYPE_CHECKING:
    from streams.tracing.record_tracer import RecordTracer

__all__ = ["StageMeter", "StageWiring", "StageWorld", "observed"]

Sent = TypeVar("Sent")


class StageMeter(Protocol):
    """Takes a runner's metrics."""

    def records(self, stage: str, topic: str, outcome: str, count: int) -> None:
        """Count records of a topic, by outcome."""
        ...

    def failed_ticks(self, stage: str, partition: int, count: int) -> None:
        """Count parts of a tick that have failed; none, of most."""
        ...

    def batch(self, stage: str, seconds: float) -> None:
        """Observe the time of a batch from being fetched to being saved."""
        ...

    def delay(self, stage: str, seconds: float) -> None:
        """Observe the age of a batch's first record once all of it is processed."""
        ...

    def observer(self, stage: str) -> Callable[[Record], None] | None:
        """What is called with each record that a stage makes; None for none."""
        ...

    def lag(self, stage: str, partition: int, count: int) -> None:
        """Set the consumer lag of a partition, in records."""
        ...

    def left(self, stage: str, partition: int) -> None:
        """End the figures of a partition that another worker has now."""
        ...


def observed(
    pack: Callable[[Record], Sent], observe: Callable[[Record], None] | None
) -> Callable[[Record], Sent]:
    """`pack`, of which each record is observed as well."""
    if observe is None:
        return pack

    def packed(record: Record) -> Sent:
        made = pack(record)
        observe(record)
        return made

    return packed


@dataclass(frozen=True, slots=True)
class StageWiring:
    """What a runner is given, the same for all stages of a worker."""

    codec: CodecProtocol
    client_config: Mapping[str, Any]  # of librdkafka: servers and security
    producer_config: Mapping[str, Any]
    views: Mapping[str, TopicView[Any]]  # by topic, without prefix
    meter: StageMeter
    tracer: RecordTracer | None = None  # None: there are no traces


class StageWorld:
    """What a stage may see besides its event and its state."""

    def __init__(self, views: Mapping[str, TopicView[Any]]) -> None:
        self._views = views
        self._entries: Mapping[str, CatalogEntry] = {}
        self._catalog = Catalog()
        self._instances: Mapping[str, Instance] = {}
        self.refreshed_s = float("-inf")  # monotonic time as of which all views are complete

    def refresh(self, as_of_s: float, timeout_s: float) -> None:
        """Read the views up to what was there at `as_of_s` (monotonic), at least; blocks."""
        for view in self._views.values():
            view.catch_up(timeout_s, as_of_s=as_of_s)
        self.refreshed_s = min((view.caught_up_s for view in self._views.values()), default=as_of_s)
        if "instances" in self._views:
            self._instances = self._views["instances"].values
        entries = self._views["catalog"].values if "catalog" in self._views else {}
        if entries is not self._entries:
            self._entries, self._catalog = entries, Catalog.of(entries.values())

    def context(self, partition: int, record_ms: int) -> StepContext:
        """The context of a step."""
        return StepContext(partition, record_ms, self._catalog, self._instances)
