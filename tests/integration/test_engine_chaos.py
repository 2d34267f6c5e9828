"""The engine under blows, on a broker of its own: nothing lost, no state counted twice."""

from __future__ import annotations

import logging
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from engine_harness import Load, Workers, allow, check, come_and_go, committed, refuse
from harness import CHECKOUT, eventually

from streams.adapters.kafka.topics import create_topics
from streams.devstack.kafka import KafkaServer
from streams.settings import Settings

PER_S = 1_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    kafka = KafkaServer(tmp_path_factory.mktemp("broker"), CHECKOUT / "build")
    kafka.launch(tied=True)
    try:
        kafka.wait()
        yield kafka
    finally:
        kafka.stop()


@pytest.fixture
def own(broker: KafkaServer) -> Settings:
    settings = Settings(
        kafka=broker.address,
        prefix=f"{uuid.uuid4().hex[:6]}-",
        partitions=4,
        commit_ms=200,
        session_ms=2_000,
    )
    create_topics(settings)
    return settings


@pytest.fixture
def workers(own: Settings, tmp_path: Path) -> Iterator[Workers]:
    with Workers(own, tmp_path) as started:
        yield started


def note(text: str) -> None:
    """For those who run it with `-o log_cli_level=INFO`."""
    logging.getLogger(__name__).info(text)


def progress(settings: Settings, beyond: int) -> None:
    eventually(lambda: sum(committed(settings)) > beyond, 120)


def test_twenty_kills_lose_nothing_and_repeat_less_than_a_second_each(
    own: Settings, workers: Workers
) -> None:
    chance = random.Random(1)
    with Load(own, PER_S) as load:
        workers.start()
        workers.start()
        progress(own, 0)
        for _ in range(20):
            time.sleep(chance.uniform(0.2, 2.0))  # the random point, not a wait
            workers.end(chance.choice(workers.alive), signal.SIGKILL)
            workers.start()
        load.stop()
        repeated = check(own)
    note(f"{repeated} of {load.sent} repeated")
    assert repeated < 20 * PER_S


def test_workers_that_come_and_go_change_nothing(own: Settings, workers: Workers) -> None:
    with Load(own, PER_S) as load:
        workers.start()
        progress(own, 0)
        come_and_go(workers)
        load.stop()
        repeated = check(own)
    note(f"{repeated} of {load.sent} repeated")


def test_a_worker_that_was_thought_dead_cannot_write(own: Settings, workers: Workers) -> None:
    with Load(own, PER_S):
        workers.start()
        frozen = workers.start()
        progress(own, PER_S)
        for _ in range(3):
            workers.tell(frozen, signal.SIGSTOP)
            done = sum(committed(own))
            progress(own, done + 4 * PER_S)  # its partitions have gone to the other
            workers.tell(frozen, signal.SIGCONT)
            progress(own, done + 6 * PER_S)
    check(own)


def test_a_broker_that_restarts_interrupts_and_no_more(
    broker: KafkaServer, own: Settings, workers: Workers
) -> None:
    with Load(own, PER_S):
        workers.start()
        workers.start()
        progress(own, PER_S)
        done = restart(broker, lambda: sum(committed(own)))
        progress(own, done + 3 * PER_S)
    check(own)


def test_deliveries_that_fail_for_ten_seconds_are_made_again(
    broker: KafkaServer, own: Settings, workers: Workers
) -> None:
    own = replace(own, delivery_ms=3_000)
    with Load(own, PER_S):
        workers.start(own)
        progress(own, PER_S)
        done, process = sum(committed(own)), psutil.Process(broker.child.pid or 0)
        process.suspend()
        try:
            time.sleep(10)  # how long deliveries fail; five tries last longer
        finally:
            process.resume()
        progress(own, done + PER_S)
    check(own)
    assert "try 1 of 5" in workers.logs()


def test_a_worker_whose_deliveries_fail_for_good_stops(own: Settings, workers: Workers) -> None:
    own = replace(own, delivery_ms=1_000)
    with Load(own, PER_S):
        worker = workers.start(own)
        progress(own, 0)
        refuse(own, "outcomes")
        worker.join(120)
        assert worker.exitcode not in {0, None}
        workers.alive.remove(worker)
        allow(own, "outcomes")
        workers.start()
    check(own)
    assert "not delivered to Kafka" in workers.logs()


def restart(broker: KafkaServer, before: Callable[[], int]) -> int:
    """Stop the broker and start it again where it was; what `before` said."""
    said = before()
    broker.stop()
    broker.launch(tied=True)
    broker.wait()
    return said
