"""What a topic goes through while a worker is away: rolled back, expired, deleted and made anew."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    NewPartitions,
)
from harness import Eventually
from live import Live

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config, producer_config
from streams.adapters.kafka.topics import create_topics
from streams.records import Prediction, Request
from streams.settings import Settings

STAGES = ("profiler", "interceptor", "feedback")


def produce(settings: Settings, producer: Producer, name: str, count: int) -> None:
    """One request each of users of this name."""
    for number in range(count):
        user = f"{name}-{number}"
        request = Request(request_id=user, user=user, service="s", at_ms=1_700_000_000_000)
        producer.produce(settings.topic("requests"), codec.encode(request), user)
    producer.flush(20)


def plain(settings: Settings) -> Producer:
    return Producer(producer_config(settings))


def predicted(live: Live, name: str) -> int:
    found = [r.user for r in live.records("predictions") if isinstance(r, Prediction)]
    return sum(user.startswith(name) for user in found)


def admin(settings: Settings) -> Any:
    return AdminClient(client_config(settings))


def delete(settings: Settings, topic: str) -> None:
    client, name = admin(settings), settings.topic(topic)
    client.delete_topics([name])[name].result(20)
    while name in client.list_topics(timeout=10).topics:
        time.sleep(0.1)


def in_transaction(settings: Settings, name: str, end: Callable[[Producer], None]) -> None:
    own = {"transactional.id": f"shop-{uuid.uuid4().hex}"}
    producer = Producer({**producer_config(settings), **own})
    producer.init_transactions(20)
    producer.begin_transaction()
    produce(settings, producer, name, 5)
    end(producer)


def take_once(live: Live, eventually: Eventually, count: int, *stages: str) -> None:
    """Have a worker take so many requests of old users, and end."""
    worker = live.worker(*stages)
    produce(live.settings, plain(live.settings), "old", count)
    eventually(lambda: predicted(live, "old") == count, 60)
    live.catch_up()
    worker.stop()


def lose_state(live: Live, eventually: Eventually) -> None:
    """Have a profiler take 80 requests of old users, lose what it learnt, and 40 of new ones come."""
    take_once(live, eventually, 80, "profiler")
    delete(live.settings, "profiler-state")
    create_topics(live.settings)
    produce(live.settings, plain(live.settings), "new", 40)


def test_what_a_producer_rolled_back_has_never_happened(live: Live, eventually: Eventually) -> None:
    in_transaction(live.settings, "ghost", lambda p: p.abort_transaction(20))
    in_transaction(live.settings, "ann", lambda p: p.commit_transaction(20))
    live.worker(*STAGES)
    eventually(lambda: predicted(live, "ann") == 5, 60)
    produce(live.settings, plain(live.settings), "after", 5)
    eventually(lambda: predicted(live, "after") == 5)
    assert predicted(live, "ghost") == 0


def test_records_that_retention_took_unread_are_counted_and_told(
    live: Live, eventually: Eventually
) -> None:
    settings = live.settings
    take_once(live, eventually, 40, *STAGES)
    produce(settings, plain(settings), "missed", 40)
    ends = live.ends(["requests"])
    gone = {at: end - 2 for at, end in ends.items()}
    asked = [TopicPartition(settings.topic("requests"), p, at) for (_, p), at in gone.items()]
    client = admin(settings)  # kept until it has answered
    [future.result(20) for future in client.delete_records(asked).values()]
    again = live.worker(*STAGES)
    eventually(lambda: predicted(live, "missed") == 2 * len(ends), 60)
    assert "are lost, since retention took them before they were read" in again.output


def test_a_topic_made_anew_is_read_from_its_beginning(live: Live, eventually: Eventually) -> None:
    settings = live.settings
    take_once(live, eventually, 80, *STAGES)
    delete(settings, "requests")
    create_topics(settings)
    produce(settings, plain(settings), "new", 40)
    again = live.worker(*STAGES)
    eventually(lambda: predicted(live, "new") == 40, 60)
    assert "requests was deleted and made anew" in again.output


def test_a_topic_made_anew_under_a_worker_loses_nothing(live: Live, eventually: Eventually) -> None:
    settings = live.settings
    worker = live.worker(*STAGES)
    produce(settings, plain(settings), "old", 80)
    eventually(lambda: predicted(live, "old") == 80, 60)
    delete(settings, "requests")
    worker.wait()  # it may have to be killed: positions in what is deleted cannot be saved
    assert f"Topic {settings.topic('requests')} was deleted. Workers end." in worker.output
    create_topics(settings)
    produce(settings, plain(settings), "new", 120)
    live.worker(*STAGES)
    eventually(lambda: predicted(live, "new") == 120, 60)


def test_state_that_is_lost_is_told_with_the_way_to_learn_it_again(
    live: Live, eventually: Eventually
) -> None:
    lose_state(live, eventually)
    again = live.worker("profiler")
    eventually(lambda: predicted(live, "new") == 40, 60)
    assert "without state" in again.output
    assert "foremesh worker profiler --rebuild" in again.output


def test_state_that_is_lost_is_learnt_again_when_the_operator_says_so(
    live: Live, eventually: Eventually
) -> None:
    settings = live.settings
    lose_state(live, eventually)
    again = live.worker("profiler", FOREMESH_WORKER_REBUILD="1")
    eventually(lambda: predicted(live, "old") == 160, 60)
    eventually(lambda: predicted(live, "new") == 40, 60)
    assert "profiler has lost state: it takes 80 records again" in again.output
    assert "without state" not in again.output
    assert again.stop() == 0

    third = live.worker("profiler", FOREMESH_WORKER_REBUILD="1")
    produce(settings, plain(settings), "third", 40)
    eventually(lambda: predicted(live, "third") == 40, 60)
    assert "has lost state" not in third.output
    assert predicted(live, "old") == 160


def test_nothing_is_learnt_again_beside_a_worker_that_runs(
    live: Live, eventually: Eventually
) -> None:
    settings = live.settings
    live.worker("profiler")
    produce(settings, plain(settings), "old", 40)
    eventually(lambda: predicted(live, "old") == 40, 60)
    live.catch_up()
    delete(settings, "profiler-state")
    create_topics(settings)
    other = live.worker("profiler", FOREMESH_WORKER_REBUILD="1")
    assert other.wait(60) == 1
    assert "has 1 members: end its workers" in other.output


def test_partitions_that_are_added_are_refused_at_once_with_the_way_out(
    live: Live, eventually: Eventually
) -> None:
    settings = live.settings
    worker = live.worker("profiler")
    produce(settings, plain(settings), "old", 20)
    eventually(lambda: predicted(live, "old") == 20, 60)
    name = settings.topic("requests")
    client = admin(settings)
    client.create_partitions([NewPartitions(name, settings.partitions + 2)])[name].result(20)

    assert worker.wait(40) == 0, worker.output
    assert f"Topic {name} has {settings.partitions + 2} partitions" in worker.output
    assert "FOREMESH_PREFIX" in worker.output
    again = live.worker("profiler")
    assert again.wait(60) == 1
    assert f"topic {name} has {settings.partitions + 2} partitions" in again.output


def spoil_state(live: Live, value: bytes) -> None:
    """Put a row into each partition of the profiler's changelog that this release cannot read."""
    producer, topic = plain(live.settings), live.settings.topic("profiler-state")
    for number in range(live.settings.partitions):
        producer.produce(topic, value, b"u/someone", number)
    producer.flush(20)


def test_state_of_another_form_is_told_with_both_ways_out(
    live: Live, eventually: Eventually
) -> None:
    take_once(live, eventually, 80, "profiler")
    spoil_state(live, b"\xff of a later release")
    again = live.worker("profiler")
    assert again.wait() == 1
    assert "cannot be read" in again.output
    assert "or learn it again with `foremesh worker --rebuild`" in again.output


def test_state_of_another_form_is_learnt_again_when_the_operator_says_so(
    live: Live, eventually: Eventually
) -> None:
    take_once(live, eventually, 80, "profiler")
    spoil_state(live, b"\xff of a later release")
    produce(live.settings, plain(live.settings), "new", 40)
    again = live.worker("profiler", FOREMESH_WORKER_REBUILD="1")
    eventually(lambda: predicted(live, "old") == 160, 60)
    eventually(lambda: predicted(live, "new") == 40, 60)
    assert "profiler has lost state: it takes 80 records again" in again.output
    assert again.stop() == 0
    later = live.worker("profiler", FOREMESH_WORKER_REBUILD="1")
    produce(live.settings, plain(live.settings), "last", 40)
    eventually(lambda: predicted(live, "last") == 40, 60)
    assert "lost state" not in later.output
