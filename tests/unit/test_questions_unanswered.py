"""Questions to a broker that dies before it has answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.adapters.kafka import lag, topics
from streams.errors import BrokerUnreachable
from streams.settings import Settings


class Dying:
    """Was there when it was connected to, and answers nothing."""

    def __getattr__(self, _: str) -> Callable[..., Any]:
        def ask(*_: object, **__: object) -> Any:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

        return ask


@pytest.mark.parametrize(
    ("module", "ask"),
    [(topics, topics.check_topics), (topics, topics.create_topics), (lag, lag.group_lags)],
)
def test_a_broker_that_dies_in_a_question_is_told_in_a_sentence(
    module: Any, ask: Callable[[Settings], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "connect", lambda _: Dying())

    with pytest.raises(BrokerUnreachable, match=r"^Kafka does not do as asked .*: run this again$"):
        ask(Settings())
