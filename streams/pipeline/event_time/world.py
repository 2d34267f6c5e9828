"""What a flow in event time sees beside requests: the catalogue, operator overrides, instances."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from confluent_kafka import Consumer, TopicPartition

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import connect, consumer_config
from streams.adapters.kafka.topic_reader import read_topic
from streams.broker.offsets import end_offsets
from streams.broker.refusal import check_rights
from streams.engine.stage_wiring import StageWorld
from streams.errors import BrokerUnreachable
from streams.flow.components import EVENT_TIME
from streams.pipeline.event_time.kafka_record import KafkaRecord
from streams.pipeline.stage_views import stage_view
from streams.records import Instance, Record
from streams.records.catalog import Catalog
from streams.settings import Settings
from streams.stages.planned_pool import PlannedPool, instances_of
from streams.stages.planned_provisioner import EFFECT_MS

__all__ = ["CatalogueView", "ControlReader", "instances_as_of"]

ANSWER_S = 30.0
CHUNK = 1_000


class CatalogueView:
    """The catalogue on Kafka, never older than what is judged by it."""

    def __init__(self, settings: Settings) -> None:
        self._view = stage_view(settings, "catalog")
        self._world = StageWorld({"catalog": self._view})

    def as_of(self, time_s: float) -> Catalog:
        """The catalogue of a time (monotonic), or a later one."""
        self._world.refresh(time_s, ANSWER_S)
        return self._world.context(0, 0).catalog

    def close(self) -> None:
        """Close the connection."""
        self._view.close()


class ControlReader:
    """Reads operator overrides from `control`.

    Parameters
    ----------
    settings
        Kafka.
    start
        The offset to begin at, by partition.
    """

    def __init__(self, settings: Settings, start: Mapping[int, int]) -> None:
        self._topic = settings.topic("control")
        self._admin = connect(settings)
        config = consumer_config(settings, settings.group(EVENT_TIME))
        self._consumer = Consumer({**config, "enable.partition.eof": True})
        self._consumer.assign([TopicPartition(self._topic, p, at) for p, at in start.items()])
        self.positions = dict(start)

    def whole(self) -> Iterator[KafkaRecord]:
        """All there are as of now."""
        ends = {p: at for (_, p), at in end_offsets(self._admin, [self._topic]).items()}
        deadline = time.monotonic() + ANSWER_S
        while any(self.positions[p] < end for p, end in ends.items()):
            yield from self.new(0.05)
            if time.monotonic() > deadline:
                raise BrokerUnreachable(f"{self._topic} could not be read to its end in time")

    def new(self, timeout_s: float = 0.0) -> Iterator[KafkaRecord]:
        """Those that have come."""
        for message in self._consumer.consume(CHUNK, timeout_s):
            partition, offset = message.partition() or 0, message.offset() or 0
            if error := message.error():
                check_rights(error)
                if offset > 0:  # the end
                    self.positions[partition] = max(self.positions[partition], offset)
            else:
                self.positions[partition] = offset + 1
                yield KafkaRecord.of(message, "control")

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def instances_as_of(
    settings: Settings, pools: Iterable[Mapping[str, PlannedPool]]
) -> Iterator[Instance]:
    """The instances as a checkpoint left them, those that ended first.

    What was sent after the checkpoint, by however many workers, is made again and does not count
    yet; and compaction may have dropped what it replaces. So those that live are taken from the
    provisioner's state, and of those that have ended what had by the time of their pool. Where
    requests are out of order, what they both start and end within their lateness counts as well.

    Parameters
    ----------
    pools
        The provisioner's states: the rows of pools.
    """
    known = {name: pool for rows in pools for name, pool in rows.items()}
    live = [instance for name, pool in known.items() for instance in instances_of(name, pool)]
    there = {instance.instance_id for instance in live}
    ended = [
        record
        for record in _records(settings, "instances")
        if isinstance(record, Instance) and record.gone_ms is not None and not record.endpoint
        if (pool := known.get(record.pool)) and record.gone_ms <= pool.now_ms + EFFECT_MS
        if record.instance_id not in there
    ]
    yield from sorted(ended, key=attrgetter("gone_ms", "instance_id"))
    yield from live


def _records(settings: Settings, topic: str) -> Iterator[Record]:
    """The readable records of a topic."""
    for message in read_topic(settings, settings.topic(topic)):
        try:
            yield codec.decode(message.value() or b"")
        except codec.RecordUndecodable:
            continue
