"""Merges the partitions of `requests` into the order of the log; no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from streams.adapters.kafka.log_place import LogPlace
from streams.records import Watermark

__all__ = ["LogMerge"]

T = TypeVar("T")

_Source = str | int  # a log, or a partition for requests that say no place
_Place = tuple[int, int]  # latest event time of the log so far, number of requests so far
_NOWHERE: _Place = (-(2**63), 0)


class _Waiting(NamedTuple, Generic[T]):
    """A request whose turn has not come."""

    place: _Place
    turn: int  # how many were put up to this one
    item: T


@dataclass(slots=True)
class _Partition(Generic[T]):
    """One partition: what is known of it, and until where."""

    waiting: deque[_Waiting[T]] = field(default_factory=deque)
    come_to: dict[_Source, _Place] = field(default_factory=dict)  # nothing from before follows
    ended: int = -1  # how many had been put when there was nothing more on it
    ended_s: float = 0.0  # and when that was
    passed_over: bool = False

    def behind(self, place: _Place) -> list[_Source]:
        """What has not come as far as this place."""
        return [source for source, come_to in self.come_to.items() if come_to < place]


class LogMerge(Generic[T]):
    """Gives requests in the order of their log, whatever the speed of each partition.

    The first request of a partition is given once no earlier one can follow on the others: each has
    a later one, or has nothing more *and* its log says by a watermark that it has come as far. A
    partition whose producers write no watermarks is waited for while it was heard within `idle_s`,
    and so is a log that breaks off. What comes late in spite of that is given at once.

    Parameters
    ----------
    partitions
        Their numbers.
    idle_s
        Silence after which a partition with nothing more on it is passed over.
    now_s
        When reading begins (monotonic, as all times here).
    """

    def __init__(self, partitions: Iterable[int], idle_s: float, now_s: float) -> None:
        self._idle_s = idle_s
        self._partitions: dict[int, _Partition[T]] = {
            number: _Partition(come_to={number: _NOWHERE}) for number in partitions
        }
        self._heard_s: dict[_Source, float] = dict.fromkeys(self._partitions, now_s)
        self._count = 0

    def __len__(self) -> int:
        """How many wait for their turn."""
        return sum(len(partition.waiting) for partition in self._partitions.values())

    @property
    def count(self) -> int:
        """How many were put so far."""
        return self._count

    def waiting(self, partition: int) -> int:
        """How many of a partition wait for their turn."""
        return len(self._partitions[partition].waiting)

    def first(self, partition: int) -> T | None:
        """The first of a partition that waits for its turn."""
        waiting = self._partitions[partition].waiting
        return waiting[0].item if waiting else None

    def put(self, partition: int, item: T, place: LogPlace | None, now_s: float) -> None:
        """Add the next request of a partition; what has no place is given as if it were late."""
        at = _NOWHERE if place is None else (place.at_ms, place.number)
        if place is not None:
            self._hear(partition, place.log, at, now_s)
        self._count += 1
        self._partitions[partition].waiting.append(_Waiting(at, self._count, item))

    def mark(self, partition: int, mark: Watermark, now_s: float) -> None:
        """Note how far a log has come on a partition."""
        source = self._hear(partition, mark.log, (mark.at_ms, mark.number), now_s)
        if mark.complete:
            del self._partitions[partition].come_to[source]

    def end(self, partition: int, count: int, asked_s: float) -> None:
        """Note that a partition had nothing more at `asked_s`, when `count` had been put."""
        here = self._partitions[partition]
        here.ended, here.ended_s = count, asked_s

    def take(self) -> T | None:
        """The next request of the log; None while an earlier one may follow."""
        first = self._first()
        if first is None or any(True for _ in self._holding_up(first)):
            return None
        return first.waiting.popleft().item

    def holding_up(self) -> list[int]:
        """The partitions that the next request waits for."""
        first = self._first()
        return [] if first is None else list(self._holding_up(first))

    def newly_passed_over(self) -> list[int]:
        """The partitions that are not waited for since the last call, because they are silent."""
        first = self._first()
        new = []
        for number, here in self._partitions.items():
            behind = () if first is None or here.waiting else here.behind(first.waiting[0].place)
            silent = any(self._is_silent(source, here) for source in behind)
            if silent and not here.passed_over:
                new.append(number)
            here.passed_over = silent
        return new

    def _hear(self, number: int, log: str, place: _Place, now_s: float) -> _Source:
        """Note how far a log has come; one without a name is taken for the partition itself."""
        here, source = self._partitions[number], log or number
        self._heard_s[source] = now_s
        if here.come_to.get(number) == _NOWHERE:
            del here.come_to[number]  # it has a log
        here.come_to[source] = max(place, here.come_to.get(source, place))
        return source

    def _first(self) -> _Partition[T] | None:
        """The partition with the earliest request."""
        some = [here for here in self._partitions.values() if here.waiting]
        return min(some, key=lambda here: here.waiting[0].place, default=None)

    def _holding_up(self, first: _Partition[T]) -> Iterator[int]:
        place, turn, _ = first.waiting[0]
        for number, here in self._partitions.items():
            if not here.waiting and not self._may_pass(here, place, turn):
                yield number

    def _may_pass(self, here: _Partition[T], place: _Place, turn: int) -> bool:
        """Whether nothing from before this place, the `turn`th that was put, can follow here."""
        if here.ended < turn:
            return False
        return all(self._is_silent(source, here) for source in here.behind(place))

    def _is_silent(self, source: _Source, here: _Partition[T]) -> bool:
        return here.ended_s - self._heard_s[source] >= self._idle_s
