"""What a flow in event time makes of a broker that does not tell all it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError

from streams.errors import RightsMissing
from streams.pipeline.event_time.requests import RequestReader
from streams.pipeline.event_time.world import ControlReader
from streams.settings import Settings

SETTINGS = Settings()
HOME = "streams.pipeline.event_time"


class Consumed:
    """A consumer with one message, which is an error."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __call__(self, config: object) -> Consumed:
        """Be made."""
        del config
        return self

    def assign(self, places: object) -> None:
        """Read these."""

    def consume(self, most: int, timeout_s: float) -> list[Consumed]:
        del most, timeout_s
        return [self]

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return -1001  # none

    def error(self) -> KafkaError:
        return KafkaError(self.code)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], int]:
    """What the broker tells of the ends of partitions."""
    told = dict[tuple[str, int], int]()
    for module in ("requests", "world"):
        monkeypatch.setattr(f"{HOME}.{module}.connect", lambda _: None)
        monkeypatch.setattr(f"{HOME}.{module}.end_offsets", lambda *_: told)
        denied = Consumed(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        monkeypatch.setattr(f"{HOME}.{module}.Consumer", denied)
    return told


def test_of_a_topic_of_which_no_end_is_told_as_much_is_left_as_before(
    ends: dict[tuple[str, int], int],
) -> None:
    reader = RequestReader(SETTINGS, {0: 3, 1: 0})
    assert reader.left() == 0
    ends.update({("requests", 0): 8, ("requests", 1): 2})
    assert reader.left() == 7
    ends.clear()
    assert reader.left() == 7


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize(
    "read",
    [
        lambda: RequestReader(SETTINGS, {0: 0}).fetch(),
        lambda: list(ControlReader(SETTINGS, {0: 0}).new()),
    ],
)
def test_a_topic_that_may_not_be_read_is_told_with_the_fix(read: Callable[[], Any]) -> None:
    with pytest.raises(RightsMissing, match="foremesh acl print"):
        read()
