from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, Message
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from harness import Eventually, RunForemesh

from streams.adapters.kafka.clients import commit_read, connect, consumer_config
from streams.adapters.kafka.lag import group_lags
from streams.adapters.kafka.topics import check_topics, create_topics, declared
from streams.settings import Settings


def test_created_topics_are_as_declared(settings: Settings, topics: list[str]) -> None:
    assert set(topics) == set(declared(settings))
    assert check_topics(settings) == []


def test_creating_topics_twice_creates_nothing(settings: Settings, topics: list[str]) -> None:
    again = create_topics(settings)

    assert {state.name for state in again} == set(topics)
    assert not any(state.created for state in again)


def test_missing_topics_are_reported_with_the_command_that_creates_them(
    settings: Settings,
) -> None:
    (problem,) = check_topics(settings)

    names = [*declared(settings)]
    told = f"{len(names)} topics are missing: run `foremesh topics create` ({', '.join(names)})"
    assert problem == told


def test_a_partition_count_that_many_topics_have_is_reported_once(
    settings: Settings, topics: list[str]
) -> None:
    (problem,) = check_topics(replace(settings, partitions=6))

    assert problem.startswith(f"{len(topics)} topics have 4 partitions, not 6: set FOREMESH_")
    assert all(name in problem for name in topics)


def test_a_partition_count_that_one_topic_has_is_reported_in_the_singular(
    settings: Settings, topics: list[str]
) -> None:
    assert topics
    (problem,) = check_topics(replace(settings, partitions=1), only=["requests"])

    name = settings.topic("requests")
    assert problem.startswith(f"topic {name} has 4 partitions, not 1: set FOREMESH_PARTITIONS")


def test_a_changelog_that_expires_is_reported(
    settings: Settings, topics: list[str], eventually: Eventually
) -> None:
    name = settings.topic("profiler-state")
    assert name in topics
    entry = ConfigEntry(
        "cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    client = connect(settings)  # ends the call when it is dropped
    client.incremental_alter_configs([resource])[resource].result(10)

    (problem,) = eventually(lambda: check_topics(settings))
    assert problem.startswith(f"topic {name} has cleanup.policy=compact,delete, not compact")


def test_the_command_creates_and_checks_topics(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    missing = run_foremesh("topics", "check")
    assert missing.wait() == 1
    assert settings.topic("requests") in missing.output

    assert settings.topic("requests") in run_foremesh("topics", "create").finish()
    run_foremesh("topics", "check").finish()


def test_a_worker_writes_nothing_for_a_terminal_into_a_file(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    worker = run_foremesh("worker", "feedback")
    eventually(lambda: any(lag.members for lag in group_lags(settings)), 60)

    assert worker.stop(30) == 0
    assert "\x1b" not in worker.output


def test_the_log_of_a_worker_names_its_stages(
    topics: list[str], run_foremesh: RunForemesh, eventually: Eventually
) -> None:
    assert topics
    worker = run_foremesh("worker", "feedback", "aggregator")

    for stage in ("feedback", "aggregator"):
        eventually(lambda s=stage: f"-{s}]: Starting" in worker.output, 60)  # type: ignore[misc]


def test_a_commit_that_kafka_does_not_take_is_told_and_ends_nobody(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Consumer(consumer_config(settings, settings.group("any")))) as consumer:
        gone = Message(topic=settings.topic("gone"), partition=0, offset=0)
        commit_read(consumer, [gone])
    assert "offsets not committed" in caplog.text
