"""What a broker does not do is told in a sentence, with what to do."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.broker.answered import answered
from streams.errors import BrokerUnreachable, ForemeshError, RightsMissing


@answered("run this again")
def ask(future: Future[int]) -> int:
    return future.result(timeout=0)


def test_an_answer_is_handed_on() -> None:
    future = Future[int]()
    future.set_result(3)
    assert ask(future) == 3


def test_silence_says_what_to_do() -> None:
    with pytest.raises(BrokerUnreachable, match=r"not answer in time: run this again$"):
        ask(Future[int]())


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (KafkaError.POLICY_VIOLATION, BrokerUnreachable, r"\(.*[Pp]olicy.*\): run this again$"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, RightsMissing, "give it those of `foremesh acl"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(code: int, kind: type[ForemeshError], says: str) -> None:
    future = Future[int]()
    future.set_exception(KafkaException(KafkaError(code)))
    with pytest.raises(kind, match=says):
        ask(future)
