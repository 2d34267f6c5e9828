from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Producer
from faust.types import TP

from streams.adapters.kafka.clients import client_config, producer_config
from streams.engine.batch import BareEnd
from streams.engine.fetcher import FetchedRecord, FetchedRun, RecordFetcher
from streams.engine.producer import CheckedProducer
from streams.settings import Settings

pytestmark = pytest.mark.usefixtures("topics")

WAIT_S = 0.2
LIMIT_S = 20.0


def topic(settings: Settings) -> str:
    return settings.topic("requests")


def send(settings: Settings, values: Iterable[bytes], partition: int = 0) -> None:
    producer = CheckedProducer(producer_config(settings))
    for value in values:
        producer.send(topic(settings), b"key", value, partition=partition)
    producer.flush(20)


@pytest.fixture
def first(settings: Settings) -> TP:
    """The partition that most tests read."""
    return TP(topic(settings), 0)


@asynccontextmanager
async def fetching(
    settings: Settings, most_records: int = 100, most_bytes: int = 1_000_000
) -> AsyncIterator[RecordFetcher]:
    config = {**client_config(settings), "group.id": settings.group("fetcher")}
    fetcher = RecordFetcher(config, most_records, most_bytes)
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def fetch(fetcher: RecordFetcher, tps: set[TP], count: int) -> dict[TP, list[FetchedRecord]]:
    """As many records as are wanted, of all partitions together; not one more may come."""
    found: dict[TP, list[FetchedRecord]] = {}
    async with asyncio.timeout(LIMIT_S):
        while sum(map(len, found.values())) < count:
            for tp, run in (await fetcher.fetch(tps, WAIT_S)).items():
                found.setdefault(tp, []).extend(run.records)
    return found


def values(records: Iterable[FetchedRecord]) -> list[bytes | None]:
    return [record.value for record in records]


async def test_records_come_from_the_offset_that_was_sought(settings: Settings, first: TP) -> None:
    send(settings, [b"%d" % n for n in range(250)])
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 200})
        found = (await fetch(fetcher, {first}, 50))[first]
        assert values(found) == [b"%d" % n for n in range(200, 250)]
        assert [record.offset for record in found] == list(range(200, 250))
        assert fetcher.end(first) == 250


async def test_records_say_after_which_offset_they_were_fetched(
    settings: Settings, first: TP
) -> None:
    send(settings, [b"%d" % n for n in range(250)])
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 200})
        after = 200
        while after < 250:
            for run in (await fetcher.fetch({first}, WAIT_S)).values():
                assert run.follows == run.records[0].offset == after
                after = run.records[-1].offset + 1


async def test_a_partition_nobody_committed_is_read_from_its_beginning(
    settings: Settings, first: TP
) -> None:
    send(settings, [b"one", b"two"])
    async with fetching(settings) as fetcher:
        fetcher.seek({first: None})
        assert values((await fetch(fetcher, {first}, 2))[first]) == [b"one", b"two"]


async def test_no_more_records_come_at_once_than_is_allowed(settings: Settings, first: TP) -> None:
    send(settings, [b"value"] * 1_000)
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 0})
        sizes = [len((await fetch(fetcher, {first}, 1))[first]) for _ in range(10)]
    assert max(sizes) <= 100


async def test_a_partition_left_out_goes_on_where_it_stopped(settings: Settings, first: TP) -> None:
    second = TP(topic(settings), 1)
    send(settings, [b"%d" % n for n in range(300)], 0)
    send(settings, [b"other"], 1)
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 0, second: 0})
        begun = (await fetch(fetcher, {first}, 1))[first]
        other = await fetch(fetcher, {second}, 1)
        rest = (await fetch(fetcher, {first}, 300 - len(begun)))[first]
    assert values([*begun, *rest]) == [b"%d" % n for n in range(300)]
    assert {tp: values(records) for tp, records in other.items()} == {second: [b"other"]}


async def test_nothing_is_fetched_of_a_partition_that_nobody_sought(
    settings: Settings, first: TP
) -> None:
    send(settings, [b"value"])
    async with fetching(settings) as fetcher:
        assert await fetcher.fetch({first}, WAIT_S) == {}


async def test_who_waits_is_woken_by_a_lone_record(settings: Settings, first: TP) -> None:
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 0})
        waiting = asyncio.create_task(fetcher.fetch({first}, LIMIT_S))
        await asyncio.sleep(WAIT_S)
        await asyncio.to_thread(send, settings, [b"alone"])
        async with asyncio.timeout(LIMIT_S / 2):
            assert values((await waiting)[first].records) == [b"alone"]


async def test_what_came_to_one_who_was_cancelled_comes_to_the_next(
    settings: Settings, first: TP
) -> None:
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 0})
        waiting = asyncio.create_task(fetcher.fetch({first}, 2.0))
        await asyncio.sleep(WAIT_S)
        waiting.cancel()
        await asyncio.to_thread(send, settings, [b"one", b"two"])
        assert values((await fetch(fetcher, {first}, 2))[first]) == [b"one", b"two"]


async def test_a_seek_while_somebody_waits_is_not_answered_from_before_it(
    settings: Settings, first: TP
) -> None:
    send(settings, [b"one", b"two"])
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 2})
        waiting = asyncio.create_task(fetcher.fetch({first}, 2.0))
        await asyncio.sleep(WAIT_S)
        send(settings, [b"three"])  # in this thread: nobody is answered before the seek
        fetcher.seek({first: 0})
        run = (await waiting).get(first, FetchedRun(0, []))
        found = [*run.records]
        found += (await fetch(fetcher, {first}, 3 - len(found)))[first]
    assert values(found) == [b"one", b"two", b"three"]


async def test_after_forgetting_nothing_comes_before_the_next_seek(
    settings: Settings, first: TP
) -> None:
    send(settings, [b"value"])
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 0})
        await fetch(fetcher, {first}, 1)
        fetcher.forget()
        assert await fetcher.fetch({first}, WAIT_S) == {}
        fetcher.seek({first: 0})
        assert values((await fetch(fetcher, {first}, 1))[first]) == [b"value"]


async def test_after_it_is_closed_nothing_comes_and_nothing_fails(
    settings: Settings, first: TP
) -> None:
    send(settings, [b"value"])
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 0})
        await fetch(fetcher, {first}, 1)
        waiting = asyncio.create_task(fetcher.fetch({first}, WAIT_S))
        await asyncio.sleep(0)
    assert await waiting == {}
    fetcher.forget()
    assert await fetcher.fetch({first}, 0.01) == {}


async def test_sizes_that_kafka_does_not_take_are_brought_within_bounds(
    settings: Settings, first: TP
) -> None:
    send(settings, [b"one", b"two"])
    async with fetching(settings, most_records=0, most_bytes=0) as fetcher:
        fetcher.seek({first: 0})
        assert values((await fetch(fetcher, {first}, 2))[first]) == [b"one", b"two"]


async def test_the_end_is_told_with_the_last_record_before_what_a_transaction_left(
    settings: Settings, first: TP
) -> None:
    own = {"transactional.id": f"{settings.prefix}shop"}
    producer = Producer({**producer_config(settings), **own})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic(settings), b"value", b"key", first.partition)
    producer.commit_transaction(20)
    async with fetching(settings) as fetcher:
        fetcher.seek({first: 0})
        await fetch(fetcher, {first}, 1)
        ends: dict[TP, BareEnd] = {}
        async with asyncio.timeout(LIMIT_S):
            while not ends:
                assert await fetcher.fetch({first}, WAIT_S) == {}
                ends = fetcher.take_ends()
        assert ends == {first: (1, 2)}
        assert fetcher.end(first) == 2
        assert fetcher.take_ends() == {}
