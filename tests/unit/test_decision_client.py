from __future__ import annotations

import json
from typing import Any, Self, cast

import aiohttp
import pytest
from test_claims import instance

from streams.provisioners.core.interface import StandardPathRefused
from streams.request_path.envoy.decision_client import (
    DecisionClient,
    DecisionServiceUnavailable,
    GrantedInstance,
)

FAR_MS = 2**42
BRINGS = {"Authorization": "Bearer told"}


class FakeResponse:
    """An answer, as an asynchronous context as aiohttp gives it."""

    def __init__(self, status: int, body: object, **headers: str) -> None:
        self.status, self.reason, self._body = status, "reason", body
        self.headers = {key.replace("_", "-"): value for key, value in headers.items()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def json(self) -> object:
        if isinstance(self._body, Exception):
            raise self._body
        return self._body

    def raise_for_status(self) -> None:
        pass


class FakeSession:
    """Connections that give one answer to every request, without a network."""

    def __init__(self, response: FakeResponse) -> None:
        self.sent: list[tuple[str, Any]] = []
        self._response = response

    def post(
        self, url: str, *, json: object, timeout: object, headers: object
    ) -> FakeResponse:  # aiohttp's
        del timeout
        assert headers == BRINGS
        self.sent.append((url, json))
        return self._response


def client(response: FakeResponse) -> tuple[DecisionClient, FakeSession]:
    session = FakeSession(response)
    return DecisionClient(cast("aiohttp.ClientSession", session), "host:1", BRINGS), session


GRANTED = {
    "instance": {name: getattr(instance("x"), name) for name in instance("x").__dataclass_fields__},
    "key": "k",
    "warm": True,
}


async def test_a_granted_instance_comes_with_the_key_to_release_it() -> None:
    asked, session = client(FakeResponse(200, GRANTED))

    assert await asked.acquire("a", "r", FAR_MS, 10) == GrantedInstance(
        instance("x"), "k", warm=True
    )
    body = {"service": "a", "request_id": "r", "deadline_ms": FAR_MS, "priority": 10}
    assert session.sent == [("http://host:1/lease", body)]


async def test_a_refusal_says_why_and_when_to_retry() -> None:
    asked, _ = client(FakeResponse(503, {"error": "no room"}, Retry_After="7"))

    with pytest.raises(StandardPathRefused, match="no room") as refused:
        await asked.acquire("a", "r", FAR_MS, 10)
    assert refused.value.retry_after_s == 7


@pytest.mark.parametrize(
    "error", [TimeoutError(), aiohttp.ClientError(), json.JSONDecodeError("no", "", 0)]
)
async def test_a_service_that_does_not_answer_as_it_should_counts_as_unavailable(
    error: Exception,
) -> None:
    asked, _ = client(FakeResponse(200, error))

    with pytest.raises(DecisionServiceUnavailable):
        await asked.acquire("a", "r", FAR_MS, 10)


async def test_a_release_names_the_lease_the_instance_and_what_became_of_it() -> None:
    asked, session = client(FakeResponse(204, None))
    await asked.release(GrantedInstance(instance("x"), "k", warm=True), 5)
    await asked.release(GrantedInstance(instance("x"), "k", warm=True), lost=True)
    await asked.release(GrantedInstance(instance("x"), "k", warm=True), unanswered=True)

    told = {"key": "k", "instance": "x", "served_ms": 0, "lost": False, "unanswered": False}
    assert [body for _, body in session.sent] == [
        {**told, "served_ms": 5},
        {**told, "lost": True},
        {**told, "unanswered": True},
    ]
