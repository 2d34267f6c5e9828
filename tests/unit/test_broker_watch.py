"""What a worker hears of topics that change under it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicCollection

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.kafka.topics import declared
from streams.settings import Settings

SETTINGS = Settings()
THERE = dict.fromkeys(declared(SETTINGS), 4)
WITHOUT = {name: count for name, count in THERE.items() if name != "requests"}


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([THERE, THERE], 0),
        ([THERE, WITHOUT, THERE, WITHOUT, THERE], 0),
        ([THERE, WITHOUT, WITHOUT, WITHOUT, WITHOUT], 1),
        ([WITHOUT, THERE, WITHOUT, WITHOUT], 1),
        ([THERE, {**THERE, "requests": 5}, {**THERE, "requests": 5}], 1),
    ],
)
def test_a_topic_has_grown_at_once_and_is_gone_if_two_answers_lack_it(
    answers: list[dict[str, int]], calls: int
) -> None:
    told = list[int]()
    watch = BrokerWatch(SETTINGS, lambda: told.append(1))
    rest = iter(answers)
    watch._client = Broker(rest)  # type: ignore[assignment]
    for _ in answers:
        watch.look()

    assert len(told) == calls


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([{"requests": "a"}, {"requests": "a"}, {}], 0),  # not told in time is not another
        ([{"requests": "a"}, {"requests": "b"}, {"requests": "b"}], 1),
        ([{"requests": "a"}, {}, {"requests": "b"}], 1),
    ],
)
def test_a_topic_with_another_id_was_made_anew(
    answers: list[dict[str, str]], calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    told = list[int]()
    watch = BrokerWatch(SETTINGS, lambda: told.append(1))
    watch._client = Broker(repeat(THERE), iter(answers))  # type: ignore[assignment]
    for _ in answers:
        watch.look()

    assert len(told) == calls
    assert caplog.text.count("Topic requests was deleted and made anew") == calls


class Broker:
    """Answers with topics and their numbers of partitions, and with the ids of some."""

    def __init__(self, answers: Iterator[Any], ids: Iterator[dict[str, str]] | None = None) -> None:
        self.answers, self.ids = answers, ids or repeat({})

    def list_topics(self, timeout: float) -> SimpleNamespace:
        del timeout
        topics = {n: SimpleNamespace(partitions=range(k)) for n, k in next(self.answers).items()}
        return SimpleNamespace(topics=topics)

    def describe_topics(
        self, asked: TopicCollection, request_timeout: float
    ) -> dict[str, Future[SimpleNamespace]]:
        del request_timeout
        ids = next(self.ids)
        answers = {name: Future[SimpleNamespace]() for name in asked.topic_names}
        for name, answer in answers.items():
            if name in ids:
                answer.set_result(SimpleNamespace(topic_id=ids[name]))
            else:
                answer.set_exception(TimeoutError())
        return answers
