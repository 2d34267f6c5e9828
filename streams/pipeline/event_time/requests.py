"""The requests on Kafka, in the order of their log."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.clients import connect, consumer_config
from streams.adapters.kafka.log_place import LogPlace
from streams.broker.offsets import end_offsets
from streams.broker.refusal import check_rights
from streams.errors import TopicsMissing
from streams.flow.components import EVENT_TIME
from streams.pipeline.event_time.kafka_record import KafkaRecord
from streams.pipeline.event_time.merge import LogMerge
from streams.records import Request, Watermark
from streams.settings import Settings

__all__ = ["RequestReader"]

_log = logging.getLogger(__name__)

TOPIC = "requests"
CHUNK = 2_000  # most records per call of the client
MOST_WAITING, FEW_WAITING = 10_000, 2_000  # of a partition: not fetched, and fetched again
POLL_S = 0.1  # longest wait for records


class RequestReader:
    """Reads all partitions of `requests`, and gives the requests one by one.

    Parameters
    ----------
    settings
        Kafka, and how long a silent partition is waited for.
    start
        The offset to begin at, by partition.

    Attributes
    ----------
    logs
        The last watermark of each log.
    fetched_s
        When the last records came (monotonic).
    """

    def __init__(self, settings: Settings, start: Mapping[int, int]) -> None:
        self._topic = settings.topic(TOPIC)
        self._admin: AdminClient = connect(settings)
        config = consumer_config(settings, settings.group(EVENT_TIME))
        self._consumer = Consumer({**config, "enable.partition.eof": True})
        self._consumer.assign([TopicPartition(self._topic, p, at) for p, at in start.items()])
        self._merge = LogMerge[KafkaRecord](start, settings.idle_ms / 1000, time.monotonic())
        self._fetched = dict(start)  # by partition: offset of the next record to fetch
        self._paused: set[int] = set()
        self._ends = dict(start)
        self.logs: dict[str, Watermark] = {}
        self.fetched_s = float("-inf")

    def take(self) -> KafkaRecord | None:
        """The next request; None if there is none yet, or an earlier one may follow."""
        return self._merge.take()

    def fetch(self) -> None:
        """Wait a moment for more records, and ask how far the partitions go."""
        self._hold_back()
        messages = self._consumer.consume(CHUNK, self._patience_s())
        self.fetched_s = time.monotonic() if messages else self.fetched_s
        for message in messages:
            self._accept(message)
        if self._merge.holding_up():
            self._ask_ends()

    def positions(self) -> dict[int, int]:
        """By partition: offset of the first record that was not taken."""
        first = {p: self._merge.first(p) for p in self._fetched}
        return {
            p: at if (waits := first[p]) is None else waits.offset
            for p, at in self._fetched.items()
        }

    @property
    def busy(self) -> bool:
        """Whether some wait for their turn."""
        return bool(self._merge)

    def left(self) -> int:
        """How many records are not taken yet."""
        self._ask_ends()
        return sum(max(0, self._ends[p] - at) for p, at in self.positions().items())

    def _patience_s(self) -> float:
        """How long to wait for more: not at all while a request may be taken."""
        if not self._merge:
            return POLL_S
        return POLL_S / 10 if self._merge.holding_up() else 0.0

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def _accept(self, message: Message) -> None:
        partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
        if error is not None:
            self._note(error, partition, offset)
            return
        self._fetched[partition] = offset + 1
        received = KafkaRecord.of(message, TOPIC)
        now_s = time.monotonic()
        match received.readable:
            case Watermark() as mark:
                self.logs[mark.log] = mark
                self._merge.mark(partition, mark, now_s)
            case Request(at_ms=at_ms):
                place = LogPlace.of(message.headers()) or LogPlace(at_ms, offset)
                self._merge.put(partition, received, place, now_s)
            case _:  # in its turn it becomes a dead letter
                self._merge.put(partition, received, None, now_s)

    def _note(self, error: KafkaError, partition: int, offset: int) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
            self._fetched[partition] = max(self._fetched[partition], offset)
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicsMissing(f"{TopicsMissing.__doc__} ({error.str()})")
        else:
            check_rights(error)
            _log.warning("Kafka reports an error: %s", error.str(), extra={"action": "event_time"})

    def _ask_ends(self) -> None:
        """Learn which partitions have nothing more on them."""
        count, asked_s = self._merge.count, time.monotonic()
        ends = {p: at for (_, p), at in end_offsets(self._admin, [self._topic]).items()}
        self._ends |= ends  # of a topic that is deleted, or not known to a broker yet, none is told
        for partition, end in ends.items():
            if self._fetched[partition] >= end:
                self._merge.end(partition, count, asked_s)
        for partition in self._merge.newly_passed_over():
            _log.info(
                "%s[%d] has nothing new, and no watermark says that nothing follows: it is not"
                " waited for",
                self._topic, partition, extra={"action": "partition_idle"},
            )  # fmt: skip

    def _hold_back(self) -> None:
        """Fetch no more of partitions that are far ahead of others."""
        full = {p for p in self._fetched if self._merge.waiting(p) > MOST_WAITING}
        low = {p for p in self._paused if self._merge.waiting(p) < FEW_WAITING}
        if new := full - self._paused:
            self._consumer.pause([TopicPartition(self._topic, p) for p in new])
        if low:
            self._consumer.resume([TopicPartition(self._topic, p) for p in low])
        self._paused = (self._paused | new) - low
