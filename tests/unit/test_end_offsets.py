"""Questions to a broker that has just started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from confluent_kafka import OFFSET_INVALID, TopicPartition

from streams.broker.offsets import end_offsets


class Starting:
    """Knows of no end when it is asked first, and says no error."""

    def __init__(self) -> None:
        self._answers = [OFFSET_INVALID, 7]

    def list_topics(self, **_: float) -> Any:
        topic = SimpleNamespace(partitions={0: None})
        return SimpleNamespace(topics={"requests": topic})

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[Any, Any]:
        end = SimpleNamespace(offset=self._answers.pop(0))
        return dict.fromkeys(asked, SimpleNamespace(result=lambda _: end))


def test_a_broker_that_does_not_know_the_end_yet_is_asked_again() -> None:
    found = end_offsets(Starting(), ["requests"])  # type: ignore[arg-type]

    assert found == {("requests", 0): 7}
