"""Partitions of a log are merged into its order, whatever came first from which."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.kafka.log_place import LogPlace
from streams.pipeline.event_time.merge import LogMerge
from streams.records import Watermark

IDLE_S = 2.0
PARTITIONS = 3
# A log: for each request how much later than the one before it is, and its partition.
LOGS = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, PARTITIONS - 1)), max_size=30)


class Broker:
    """Partitions with requests (their numbers) and watermarks; a reader comes from somewhere to somewhere."""

    def __init__(self, *, now_s: float = 0.0) -> None:
        self.merge = LogMerge[int](range(PARTITIONS), IDLE_S, now_s)
        self.now_s = now_s
        self.partitions: list[deque[tuple[LogPlace, int] | Watermark]] = [
            deque() for _ in range(PARTITIONS)
        ]
        self.taken: list[int] = []

    def produce(self, log: list[tuple[int, int]], name: str = "log", *, marks: int = 4) -> None:
        """Append a log whose requests all have headers; a watermark after each `marks`."""
        at_ms = latest_ms = 1_000
        self.mark(name, latest_ms, 0)
        for number, (later_ms, partition) in enumerate(log, start=1):
            at_ms += later_ms
            latest_ms = max(latest_ms, at_ms)
            self.partitions[partition].append((LogPlace(latest_ms, number, name), number))
            if number % marks == 0:
                self.mark(name, latest_ms, number)
        self.mark(name, latest_ms, len(log), complete=True)

    def mark(self, log: str, at_ms: int, number: int, *, complete: bool = False) -> None:
        for partition in self.partitions:
            partition.append(
                Watermark(log=log, source="", at_ms=at_ms, number=number, complete=complete)
            )

    def fetch(self, partition: int) -> None:
        """Read one record of a partition, if there is one, and take what may be taken."""
        if self.partitions[partition]:
            match self.partitions[partition].popleft():
                case Watermark() as mark:
                    self.merge.mark(partition, mark, self.now_s)
                case place, item:
                    self.merge.put(partition, item, place, self.now_s)
        self.take()

    def fetch_all(self) -> None:
        while any(self.partitions):
            for partition in range(PARTITIONS):
                self.fetch(partition)

    def ask_ends(self) -> None:
        for number, partition in enumerate(self.partitions):
            if not partition:
                self.merge.end(number, self.merge.count, self.now_s)
        self.take()

    def take(self) -> None:
        while (item := self.merge.take()) is not None:
            self.taken.append(item)


@given(LOGS, st.lists(st.integers(-1, PARTITIONS - 1), max_size=60))
def test_requests_are_given_in_the_order_of_the_log_however_they_are_fetched(
    log: list[tuple[int, int]], order: list[int]
) -> None:
    broker = Broker()
    broker.produce(log)
    for partition in order:
        if partition < 0:
            broker.ask_ends()
        else:
            broker.fetch(partition)
    broker.fetch_all()
    broker.ask_ends()
    assert broker.taken == list(range(1, len(log) + 1))


@given(LOGS, st.lists(st.integers(0, PARTITIONS - 1), max_size=60))
def test_so_are_those_of_a_second_log_that_is_older(
    log: list[tuple[int, int]], order: list[int]
) -> None:
    broker = Broker()
    broker.produce([(500_000, 0)])
    broker.fetch_all()
    broker.ask_ends()
    broker.produce(log, "older")
    for partition in order:
        broker.fetch(partition)
        broker.ask_ends()
    broker.fetch_all()
    broker.ask_ends()
    assert broker.taken == [1, *range(1, len(log) + 1)]


def test_a_watermark_of_a_log_without_a_name_says_that_its_partition_is_complete() -> None:
    merge = LogMerge[str]([0, 1], idle_s=2.0, now_s=0.0)
    merge.put(0, "a", LogPlace(5, 1), 0.0)
    merge.mark(1, Watermark(log="", source="", at_ms=1, number=1, complete=True), 0.0)
    merge.end(1, 1, 0.1)

    assert merge.take() == "a"


def test_a_request_waits_for_a_partition_that_may_have_an_earlier_one() -> None:
    broker = Broker()
    broker.merge.put(0, 7, LogPlace(2_000, 2, "log"), 0.0)
    broker.ask_ends()
    assert broker.taken == []
    assert broker.merge.holding_up() == [1, 2]
    for partition in (1, 2):
        mark = Watermark(log="log", source="", at_ms=2_000, number=2)
        broker.merge.mark(partition, mark, 0.0)
    broker.ask_ends()
    assert broker.taken == [7]


def test_what_a_watermark_says_counts_only_when_nothing_is_left_to_read() -> None:
    broker = Broker()
    broker.produce([(0, 1)])
    for _ in range(2):
        broker.fetch(1)
    assert broker.taken == []
    assert broker.merge.holding_up() == [0, 2]


def test_a_partition_without_watermarks_is_passed_over_when_it_has_been_silent_for_a_while() -> (
    None
):
    broker = Broker()
    broker.merge.put(0, 1, LogPlace(5, 10), 0.0)
    broker.merge.put(1, 2, LogPlace(3, 20), 0.0)
    broker.now_s = IDLE_S / 2
    broker.ask_ends()
    assert broker.taken == []
    broker.now_s = IDLE_S
    broker.ask_ends()
    assert broker.taken == [2, 1]


def test_it_is_said_once_that_a_partition_is_passed_over() -> None:
    merge = LogMerge[int](range(2), IDLE_S, 0.0)
    for item in (1, 2):
        merge.put(0, item, LogPlace(item, item), IDLE_S)
    merge.end(1, merge.count, IDLE_S)
    assert merge.newly_passed_over() == [1]
    assert merge.take() == 1
    assert merge.newly_passed_over() == []


def test_a_log_that_breaks_off_holds_up_another_one_only_for_a_while() -> None:
    broker = Broker()
    broker.mark("broken", 1, 1)
    broker.fetch_all()
    broker.now_s = 1.0
    broker.produce([(0, 0)])
    broker.fetch_all()
    broker.ask_ends()
    assert broker.taken == []
    broker.now_s = IDLE_S
    broker.ask_ends()
    assert broker.taken == [1]


def test_what_cannot_be_read_is_given_in_its_turn() -> None:
    merge = LogMerge[str](range(1), IDLE_S, 0.0)
    merge.put(0, "first", LogPlace(1, 1), 0.0)
    merge.put(0, "unreadable", None, 0.0)
    assert [merge.take(), merge.take(), merge.take()] == ["first", "unreadable", None]


def test_a_place_goes_into_headers_and_back() -> None:
    place = LogPlace(1_760_000_000_000, 12, "4f0c")
    assert LogPlace.of([("other", b""), *place.headers]) == place


def test_headers_that_cannot_be_read_say_no_place() -> None:
    for value in (b"", b"x", b"1 2", b"1 x log", b"\xff 1 2", None):
        assert LogPlace.of([("foremesh-log", value)]) is None
    assert LogPlace.of(None) is None
