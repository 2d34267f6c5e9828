"""The engine on a real broker, in fair weather."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupState
from counting import Counting
from engine_harness import Workers, check, committed, records, send
from harness import eventually

from streams.adapters.avro.codec import decode
from streams.adapters.kafka.clients import client_config, connect, consumer_config, producer_config
from streams.engine.producer import CheckedProducer, TransactionalWriter, WriterFenced
from streams.engine.recovery import read_partition
from streams.engine.topic_view import TopicView
from streams.errors import DeliveryFailed, SettingInvalid, TopicsMissing
from streams.pipeline.worker import create_app, stage_names
from streams.records import DeadLetter
from streams.settings import Settings

pytestmark = pytest.mark.usefixtures("topics")


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Workers]:
    with Workers(settings, tmp_path) as started:
        yield started


@pytest.fixture
def producer(settings: Settings) -> CheckedProducer:
    return CheckedProducer(producer_config(settings))


def test_a_quiet_restart_repeats_nothing(
    settings: Settings, producer: CheckedProducer, workers: Workers
) -> None:
    for number in range(500):
        send(settings, producer, number, f"user{number % 30}")
    producer.flush(30)
    assert check_once(settings, workers) == 0
    send(settings, producer, 500, "user1")
    producer.flush(30)
    assert check_once(settings, workers) == 0


def check_once(settings: Settings, workers: Workers) -> int:
    worker = workers.start()
    repeated = check(settings, 120)
    assert workers.end(worker, signal.SIGTERM) == 0
    return repeated


def test_a_poison_record_in_a_batch_hurts_only_itself(
    settings: Settings, producer: CheckedProducer, workers: Workers
) -> None:
    services = {5: "poison", 9: "unusable"}
    for number in range(30):
        send(settings, producer, number, "user", services.get(number, "s"))
    producer.flush(30)
    worker = workers.start()
    eventually(lambda: sum(committed(settings)) == 30, 120)
    assert worker.is_alive()
    done = [decode(v) for n in range(settings.partitions) for v in records(settings, "outcomes", n)]
    letters = [
        decode(v) for n in range(settings.partitions) for v in records(settings, "dead-letters", n)
    ]
    assert [r.request_id for r in done] == [  # type: ignore[union-attr]
        f"r{number}" for number in range(30) if number not in services
    ]
    (letter,) = letters  # of what is unusable the profiler makes one, not this stage
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.stage) == ("requests", "interceptor")
    assert letter.reason == "interceptor failed: RuntimeError: poison"


def test_back_pressure_pauses_a_partition_and_loses_nothing(
    settings: Settings, producer: CheckedProducer, workers: Workers
) -> None:
    tight = replace(settings, batch_records=10, batch_bytes=2_000, commit_ms=500)
    for number in range(5_000):
        send(settings, producer, number, f"user{number % 30}")
    producer.flush(30)
    workers.start(tight)
    assert check(settings, 120) == 0


def test_a_lone_record_does_not_wait_for_others(
    settings: Settings, producer: CheckedProducer, workers: Workers
) -> None:
    patient = replace(settings, commit_ms=60_000)
    workers.start(patient)
    send(settings, producer, 0, "user")
    producer.flush(30)
    eventually(lambda: outcomes(settings) == 1, 120)  # it runs
    sent = time.monotonic()
    send(settings, producer, 1, "user")
    producer.flush(30)
    eventually(lambda: outcomes(settings) == 2, 10)
    assert time.monotonic() - sent < 5  # with 0.02 s expected on an idle machine


def outcomes(settings: Settings) -> int:
    return sum(len(list(records(settings, "outcomes", n))) for n in range(settings.partitions))


def test_a_worker_that_joins_beside_one_that_does_not_answer_ends_soon(
    settings: Settings, workers: Workers
) -> None:
    group = settings.group("interceptor")
    silent = Consumer(
        {**consumer_config(settings, group), "partition.assignment.strategy": "range"}
    )
    silent.subscribe([settings.topic("requests")], on_revoke=lambda *_: None)  # waits for a poll
    eventually(lambda: silent.poll(0.1) is None and silent.assignment(), 60)
    worker = workers.start()
    eventually(lambda: state_of(settings, group) == ConsumerGroupState.PREPARING_REBALANCING, 60)

    told = time.monotonic()
    assert workers.end(worker, signal.SIGTERM) == 0
    assert time.monotonic() - told < 10  # the broker answers when the silent one is out, in minutes
    silent.close()


def state_of(settings: Settings, group: str) -> ConsumerGroupState:
    client = connect(settings)
    state: ConsumerGroupState = client.describe_consumer_groups([group])[group].result(10).state
    return state


def test_a_stage_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(SettingInvalid, match="no stage 'profile': use profiler, aggregator"):
        stage_names(["profile"])


def test_a_worker_does_not_start_without_its_topics(settings: Settings) -> None:
    with pytest.raises(TopicsMissing, match="run `foremesh topics create`"):
        create_app(replace(settings, prefix="nowhere-"), {"interceptor": Counting()})


def test_a_view_has_the_last_value_of_each_key(
    settings: Settings, producer: CheckedProducer
) -> None:
    topic = settings.topic("instances")
    view = TopicView(client_config(settings), topic, bytes.decode)
    assert not view.catch_up(30)
    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"\xff"), (b"b", None)):
        producer.send(topic, key, value)
    producer.flush(30)
    assert view.catch_up(30)
    assert view.values == {"a": "3"}
    assert view.undecodable == 1
    before = view.values
    producer.send(topic, b"d", b"4")
    producer.flush(30)
    assert not view.catch_up(30, as_of_s=view.caught_up_s)  # complete as of then
    assert view.catch_up(30)
    assert (before, view.values) == ({"a": "3"}, {"a": "3", "d": "4"})
    view.close()


def test_a_view_of_a_missing_topic_says_so(settings: Settings) -> None:
    with pytest.raises(TopicsMissing):
        TopicView(client_config(settings), "nowhere", bytes.decode).catch_up(10)


def test_a_record_that_is_too_large_is_refused_at_once(
    settings: Settings, producer: CheckedProducer
) -> None:
    with pytest.raises(DeliveryFailed, match="too large"):
        producer.send(settings.topic("requests"), b"k", bytes(4_000_000))


def test_what_is_not_delivered_in_time_is_an_error(settings: Settings) -> None:
    nowhere = replace(settings, kafka="127.0.0.1:1", delivery_ms=500)
    producer = CheckedProducer({**producer_config(nowhere), "log_level": 0})
    producer.send("requests", b"k", b"v")
    with pytest.raises(DeliveryFailed, match="1 records not delivered"):
        producer.flush(5)


def test_a_writer_is_fenced_by_the_next_one(settings: Settings) -> None:
    topic = settings.topic("interceptor-state")
    config = {**producer_config(settings), "log_level": 0}
    first = TransactionalWriter(config, f"{settings.prefix}w", topic, 1)
    first.write([(b"a", b"1"), (b"b", b"2")])
    second = TransactionalWriter(config, f"{settings.prefix}w", topic, 1)
    with pytest.raises(WriterFenced):
        first.write([(b"a", b"late")])
    second.write([(b"b", None)])
    chunks = read_partition(client_config(settings), topic, 1, lambda: False)
    assert [row for chunk in chunks for row in chunk] == [
        (b"a", b"1"),
        (b"b", b"2"),
        (b"b", None),
    ]
