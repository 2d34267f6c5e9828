"""Commits of which a part fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from streams.adapters.kafka.clients import commit_read


class Consumer:
    """Commits all but one topic."""

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[Any]:
        assert not asynchronous
        denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        return [
            SimpleNamespace(topic=at.topic, partition=at.partition, error=error)
            for at in offsets
            for error in [denied if at.topic == "outcomes" else None]
        ]


def read(topic: str) -> Any:
    return SimpleNamespace(topic=lambda: topic, partition=lambda: 2, offset=lambda: 7)


def test_a_partition_that_is_not_committed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    commit_read(Consumer(), [read("requests"), read("outcomes")])  # type: ignore[arg-type]

    assert "offsets not committed: outcomes[2]:" in caplog.text
    assert "requests" not in caplog.text
