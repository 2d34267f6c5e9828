"""Commits for consumer groups, as a broker answers them."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.adapters.kafka.groups import GroupInUse, commit_for


class Broker:
    """Answers with these errors one after another, then with none."""

    def __init__(self, *codes: int) -> None:
        self.errors = [KafkaError(code) for code in codes]

    def alter_consumer_group_offsets(self, asked: list[Any]) -> dict[str, Future[Any]]:
        """Takes a group at a time, and says of each partition how it went."""
        (one,) = asked
        error = self.errors.pop(0) if self.errors else None
        future = Future[Any]()
        future.set_result(SimpleNamespace(topic_partitions=[SimpleNamespace(error=error)]))
        return {one.group_id: future}


def commit(broker: Any) -> None:
    commit_for(broker, {"feedback": {("outcomes", 0): 1}})


def test_a_commit_is_tried_again_while_the_group_moves_to_another_broker() -> None:
    broker = Broker(KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
    commit(broker)
    assert not broker.errors


def test_a_group_that_has_members_is_named() -> None:
    with pytest.raises(GroupInUse, match="feedback"):
        commit(Broker(KafkaError.UNKNOWN_MEMBER_ID))


def test_another_refusal_is_told_as_it_is() -> None:
    with pytest.raises(KafkaException, match="authorization"):
        commit(Broker(KafkaError.GROUP_AUTHORIZATION_FAILED))
