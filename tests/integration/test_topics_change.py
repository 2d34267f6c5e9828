"""What a topic goes through while a worker is away: rolled back, expired, deleted and made anew."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]  # public, but in no __all__
from harness import Eventually
from live import Live
from services import catalog_of, constituent, send
from topic_changes import admin, delete, plain, predicted, produce, take_once

from streams.adapters.kafka.clients import producer_config
from streams.adapters.kafka.topics import create_topics
from streams.engine.topic_view import TopicView
from streams.pipeline.stage_views import stage_view
from streams.records import Record
from streams.settings import Settings

STAGES = ("profiler", "interceptor", "feedback")


def in_transaction(settings: Settings, name: str, end: Callable[[Producer], None]) -> None:
    own = {"transactional.id": f"shop-{uuid.uuid4().hex}"}
    producer = Producer({**producer_config(settings), **own})
    producer.init_transactions(20)
    producer.begin_transaction()
    produce(settings, producer, name, 5)
    end(producer)


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


def test_a_topic_made_anew_at_once_under_a_worker_loses_nothing(
    live: Live, eventually: Eventually
) -> None:
    settings = live.settings
    worker = live.worker(*STAGES)
    produce(settings, plain(settings), "old", 80)
    eventually(lambda: predicted(live, "old") == 80, 60)
    delete(settings, "requests")
    create_topics(settings)
    produce(settings, plain(settings), "new", 40)
    worker.wait(60)
    assert f"Topic {settings.topic('requests')} was deleted and made anew" in worker.output
    live.worker(*STAGES)
    eventually(lambda: predicted(live, "new") == 40, 60)


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("read", [TopicView.catch_up, TopicView.wait])
def test_a_view_of_a_topic_made_anew_shows_what_it_has_now(
    settings: Settings,
    eventually: Eventually,
    read: Callable[[TopicView[Record], float], bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    send(settings, catalog_of(*map(constituent, ("a", "b", "c"))))
    view = stage_view(settings, "catalog")
    view.catch_up(20)
    delete(settings, "catalog")
    create_topics(settings)
    now = catalog_of(constituent("d"))
    send(settings, now)  # several records, which are there before the view notices
    eventually(lambda: read(view, 1) and len(view.values) == len(list(now)), 20)
    view.close()
    assert "catalog was deleted and made anew" in caplog.text


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
