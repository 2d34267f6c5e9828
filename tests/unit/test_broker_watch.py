"""What a worker hears of topics that change under it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

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


class Broker:
    """Answers with topics and their numbers of partitions."""

    def __init__(self, answers: Any) -> None:
        self.answers = answers

    def list_topics(self, timeout: float) -> SimpleNamespace:
        del timeout
        topics = {n: SimpleNamespace(partitions=range(k)) for n, k in next(self.answers).items()}
        return SimpleNamespace(topics=topics)
