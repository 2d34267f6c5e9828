"""How far the sink is behind, as Prometheus is told."""

from __future__ import annotations

from collections import Counter

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.adapters.metrics.table import LAG
from streams.flow.declaration import SINK

__all__ = ["END", "SinkLag"]

END = KafkaError._PARTITION_EOF  # noqa: SLF001  # its public name
_EVERY_S = 1.0


class SinkLag:
    """Follows a consumer; the ends of partitions are those that the broker told with its records.

    Parameters
    ----------
    consumer
        Tells when it has read a partition to its end, which markers of transactions move.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._next: dict[tuple[str, int], int] = {}  # offset of the next record
        self._told = set[int]()  # partitions
        self._told_s = float("-inf")

    def note(self, message: Message) -> None:
        """Take note of a message, or of the end of a partition."""
        error, offset = message.error(), message.offset()
        if offset is not None and (error is None or error.code() == END):
            place = message.topic() or "", message.partition() or 0
            self._next[place] = offset + (error is None)

    def tell(self, now_s: float) -> None:
        """Set the metric, at most once a second; `now_s` is monotonic."""
        if now_s - self._told_s < _EVERY_S:
            return
        self._told_s = now_s
        behind = Counter[int]()
        for place in self._consumer.assignment():
            behind[place.partition] += self._behind(place.topic, place.partition)
        for partition in self._told | behind.keys():
            LAG.labels(SINK, str(partition)).set(behind[partition])
        self._told |= behind.keys()

    def _behind(self, topic: str, partition: int) -> int:
        """Records of a partition that are not read yet; 0 until something of it was heard."""
        at = self._next.get((topic, partition))
        if at is None:
            return 0
        _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        return max(0, end - at)
