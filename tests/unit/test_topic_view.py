"""A view of a topic, on a broker that is only promised."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, TopicPartition

from streams.engine import topic_view
from streams.engine.topic_view import TopicView
from streams.errors import BrokerUnreachable


class Record:
    """A record as the consumer hands it over."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return None

    def key(self) -> bytes:
        return b"k%d" % self._offset

    def value(self) -> bytes:
        return b"v%d" % self._offset


class End(Record):
    """What the consumer says after the last record, or after the marker of a transaction."""

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._PARTITION_EOF)


class Broker:
    """One partition, of which each read gives `at_once` records and takes `read_s`."""

    def __init__(self, records: int, *, at_once: int = 100, read_s: float = 0.0) -> None:
        self.records, self.at_once, self.read_s = records, at_once, read_s
        self.read = self.markers = 0
        self.starting = False  # one that has just started knows of no end, and says no error

    def list_topics(self, topic: str, _: float) -> Any:
        found = SimpleNamespace(error=None, partitions={0: None})
        return SimpleNamespace(topics={topic: found})

    def assign(self, _: list[TopicPartition]) -> None:
        pass

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: float) -> dict[Any, Any]:
        known = OFFSET_INVALID if self.starting else self.records + self.markers
        end, self.starting = SimpleNamespace(offset=known), False
        answer = SimpleNamespace(result=lambda _: end)
        return dict.fromkeys(asked, answer)

    def consume(self, most: int, _: float) -> list[Record]:
        time.sleep(self.read_s)
        first, self.read = self.read, min(self.records, self.read + min(most, self.at_once))
        if first == self.read:
            return [End(self.records + self.markers)]
        return [Record(offset) for offset in range(first, self.read)]


def view_of(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> TopicView[str]:
    for client in ("Consumer", "AdminClient"):
        monkeypatch.setattr(topic_view, client, lambda _: broker)
    return TopicView({}, "instances", bytes.decode)


def test_what_was_read_before_the_time_was_over_is_a_change_of_the_next_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(1)
    broker.markers = 1
    view = view_of(broker, monkeypatch)
    with pytest.raises(BrokerUnreachable):
        view.catch_up(-1)  # all that is left is the marker of a transaction

    assert view.catch_up(10)
    assert view.values == {"k0": "v0"}


def test_a_read_that_gets_to_the_end_as_its_time_ends_has_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = view_of(Broker(2, read_s=0.002), monkeypatch)

    assert view.catch_up(0.001)
    assert view.values == {"k0": "v0", "k1": "v1"}


def test_half_of_a_topic_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(Broker(2, at_once=1), monkeypatch)
    with pytest.raises(BrokerUnreachable):
        view.catch_up(-1)

    assert view.values == {}


def test_a_read_that_finds_nothing_new_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(Broker(2), monkeypatch)
    assert view.catch_up(10)
    before = view.values

    assert not view.catch_up(10)
    assert view.values is before


def test_a_broker_that_does_not_know_the_end_yet_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(2)
    view = view_of(broker, monkeypatch)
    assert view.catch_up(10)

    broker.starting = True

    assert not view.catch_up(10)
    assert view.values == {"k0": "v0", "k1": "v1"}
    assert "made anew" not in caplog.text
