"""A compacted topic as a dictionary in memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.broker.offsets import readable_ends
from streams.broker.refusal import check_rights
from streams.engine.recovery import READER
from streams.errors import BrokerUnreachable, TopicsMissing

__all__ = ["TopicView"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK = 10_000
RETRY_S = 0.2
REQUEST_S = 3.0


class TopicView(Generic[T]):
    """The latest record of every key of a topic; reads all partitions, joins no group.

    Records that cannot be decoded are left out and counted in `undecodable`.

    Parameters
    ----------
    consumer_config
        Of librdkafka: servers and security.
    topic
        Its name on the broker.
    decode
        From bytes to a value; raises ValueError.
    key
        The name of a value in `values`; by default the key of its record.
    """

    def __init__(
        self,
        consumer_config: Mapping[str, Any],
        topic: str,
        decode: Callable[[bytes], T],
        key: Callable[[T], str] | None = None,
    ) -> None:
        self.undecodable = 0
        self.caught_up_s = float("-inf")  # monotonic time as of which it is complete
        self._config = dict(consumer_config)
        self._admin = AdminClient(self._config)
        self._consumer = Consumer({**consumer_config, **READER, "queued.min.messages": 10_000})
        self._topic, self._decode, self._key = topic, decode, key
        self._values: Mapping[str, T] = {}
        self._latest: dict[str, T] = {}  # copied to `_values` after each change
        self._changed = False  # whether that has records that `_values` has not
        self._names: dict[bytes, str] = {}  # record key -> name, for deletions
        self._next: dict[int, int] = {}  # partition -> offset of the next record
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @property
    def values(self) -> Mapping[str, T]:
        """Values by name as of the last `catch_up` or `wait`; a snapshot, never changed."""
        return self._values

    def catch_up(self, timeout_s: float, *, as_of_s: float | None = None) -> bool:
        """Read to the current end; whether anything changed since the last read that got there.

        With `as_of_s` (monotonic) the broker is not asked if the view is complete as of then.
        Safe to call from several threads.

        Raises
        ------
        BrokerUnreachable, TopicsMissing, RightsMissing
            The end was not reached in time; the topic does not exist, or not for this user.
        """
        with self._lock:
            if as_of_s is not None and as_of_s <= self.caught_up_s:
                return False
            asked = time.monotonic()
            ends = self._ends(asked + timeout_s)
            if any(end < self._next[partition] for partition, end in ends.items()):
                self._begin_anew()
            self._read_to(ends, asked + timeout_s)
            changed = self._publish()
            self.caught_up_s = asked
            return changed

    def wait(self, timeout_s: float) -> bool:
        """Wait for new records and apply them at once; whether anything changed.

        To be called in a loop after a first `catch_up`; returns False while Kafka is unreachable.
        """
        with self._lock:
            first = None if self._closing.is_set() else self._consumer.poll(timeout_s)
            if first is None:
                return False
            self._take((first, *self._consumer.consume(CHUNK, 0)))
            return self._publish()

    def close(self) -> None:
        """Close the connection, once a read in another thread has ended."""
        self._closing.set()
        with self._lock:
            self._consumer.close()

    def _ends(self, deadline: float) -> dict[int, int]:
        while True:
            try:
                return self._ask_ends()
            except (KafkaException, TimeoutError) as error:
                if self._given_up(deadline):
                    why = error.args[0].str() if isinstance(error, KafkaException) else "no answer"
                    raise BrokerUnreachable(f"{self._topic} cannot be read: {why}") from error
                # A request to a broker that dies is never answered, whatever its timeout
                # (librdkafka 2.12); and a broker that has just started has no leaders.
                self._admin = AdminClient(self._config)
                self._closing.wait(RETRY_S)

    def _ask_ends(self) -> dict[int, int]:
        # On a connection of its own: a broker answers the requests of a connection in order, and
        # the consumer's has a fetch that waits for records.
        if not self._next:
            self._assign()
        ends = readable_ends(self._admin, [(self._topic, p) for p in self._next], REQUEST_S)
        return {partition: end for (_, partition), end in ends.items()}

    def _assign(self) -> None:
        found = self._consumer.list_topics(self._topic, REQUEST_S).topics[self._topic]
        if found.error is not None:
            check_rights(found.error)
        if found.error is not None or not found.partitions:
            raise TopicsMissing(f"{self._topic} does not exist: run `foremesh topics create`")
        self._read_from_first(found.partitions)

    def _begin_anew(self) -> None:
        """Forget what was read: the topic ends before it, so it is another of the same name."""
        logger.warning(
            "%s was deleted and made anew: it is read from its beginning",
            self._topic,
            extra={"action": "view_anew"},
        )
        self._latest.clear()
        self._names.clear()
        self._changed = True
        self._read_from_first(self._next)

    def _read_from_first(self, partitions: Iterable[int]) -> None:
        self._next = dict.fromkeys(partitions, 0)
        self._consumer.assign([TopicPartition(self._topic, p, 0) for p in self._next])

    def _read_to(self, ends: Mapping[int, int], deadline: float) -> None:
        left = self._left(ends)
        while left:
            self._take(self._consumer.consume(min(left, CHUNK), 0.01))
            left = self._left(ends)
            if left and self._given_up(deadline):
                raise BrokerUnreachable(f"{self._topic} could not be read to its end in time")

    def _left(self, ends: Mapping[int, int]) -> int:
        return sum(max(0, end - self._next[partition]) for partition, end in ends.items())

    def _publish(self) -> bool:
        """Have `values` show what was read; whether anything was, also by a read that failed."""
        changed, self._changed = self._changed, False
        if changed:
            self._values = dict(self._latest)
        return changed

    def _given_up(self, deadline: float) -> bool:
        return self._closing.is_set() or time.monotonic() > deadline

    def _take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            partition, offset = message.partition() or 0, message.offset() or 0
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                check_rights(error)
            elif offset < self._next[partition]:
                self._begin_anew()
                return  # this one, and those after it, come again
            elif error is not None:
                self._next[partition] = offset
            else:
                self._next[partition] = offset + 1
                self._changed = True
                self._apply(message.key() or b"", message.value())

    def _apply(self, key: bytes, data: bytes | None) -> None:
        name = self._names.pop(key, None)
        if name is not None:
            self._latest.pop(name, None)
        if data is None:
            return
        try:
            value = self._decode(data)
            name = self._key(value) if self._key else key.decode()
        except ValueError:
            self.undecodable += 1
            return
        self._names[key] = name
        self._latest[name] = value
