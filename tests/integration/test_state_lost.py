"""State that is gone, or of another form: it is told, and learnt again if the operator says so."""

from __future__ import annotations

from harness import Eventually
from live import Live
from topic_changes import delete, plain, predicted, produce, take_once

from streams.adapters.kafka.topics import create_topics


def lose_state(live: Live, eventually: Eventually) -> None:
    """Have a profiler take 80 requests of old users, lose what it learnt, and 40 of new ones come."""
    take_once(live, eventually, 80, "profiler")
    delete(live.settings, "profiler-state")
    create_topics(live.settings)
    produce(live.settings, plain(live.settings), "new", 40)


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
