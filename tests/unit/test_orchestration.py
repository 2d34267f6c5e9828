from __future__ import annotations

import json
from itertools import permutations
from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec import Raw

from streams.provisioners.core.interface import StandardPathRefused
from streams.request_path.core.orchestration import (
    ClientGone,
    CompositeRun,
    ConstituentFailed,
    last_step_of,
)
from streams.request_path.gateway.request_parsing import parse_body


class Run(CompositeRun):
    """A request whose constituents do what a test says."""

    def __init__(self, *step: str, session: object = None) -> None:
        super().__init__(
            request_id="r",
            steps=(step,),
            deadline_ms=2**42,
            values={},
            parameters={},
            session=cast("aiohttp.ClientSession", session),
            idempotent=True,
        )

    async def call(self, constituent: str, body: bytes, is_last: bool) -> None:
        del is_last
        await self.post(constituent, "http://127.0.0.1:1", body)

    def close(self) -> None:
        pass


class Unreadable:
    """A session, and its answer that nobody can read."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.data = b""

    def post(self, *_: object, data: bytes, **__: object) -> Unreadable:
        self.data = data
        return self

    async def __aenter__(self) -> SimpleNamespace:
        return SimpleNamespace(json=self.json)

    async def __aexit__(self, *_: object) -> None:
        pass

    async def json(self, **_: object) -> object:
        raise self.error


async def test_a_constituent_gets_the_users_body_as_written_and_what_only_foremesh_knows() -> None:
    session = Unreadable(ValueError("no JSON"))
    run = Run("a", session=session)
    run.values = parse_body(
        b'{"prices": [1.10, 1e999], "seed": 12345678901234567890123, "inputs": 1}'
    )
    run.parameters, run.answers = {"page": "2"}, {"b": Raw(b"[1.10, 1e999, %d]" % 2**70)}

    with pytest.raises(ConstituentFailed):
        await run.execute()

    numbers = json.loads(session.data, parse_float=str, parse_int=str)
    assert numbers == {
        "prices": ["1.10", "1e999"],
        "seed": "12345678901234567890123",
        "request_id": "r",
        "parameters": {"page": "2"},
        "inputs": {"b": ["1.10", "1e999", str(2**70)]},
    }


def test_an_instance_is_given_back_after_its_last_step() -> None:
    assert last_step_of((("a", "b"), ("c",), ("a",))) == {"a": 2, "b": 0, "c": 1}


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Expecting value"),
        RecursionError("maximum recursion depth exceeded"),
        LookupError("'base64' is not a text encoding"),
        aiohttp.ClientPayloadError("Response payload is not completed"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_answer_that_nobody_can_read_is_a_fault_of_its_constituent(
    error: Exception,
) -> None:
    with pytest.raises(ConstituentFailed, match=f"a did not answer with JSON: {error}"):
        await Run("a", session=Unreadable(error)).execute()


async def answer_of(text: str) -> bytes:
    """What is kept of a constituent's answer."""

    async def answered(request: web.Request) -> web.Response:
        del request
        return web.Response(text=text)

    app = web.Application()
    app.router.add_post("/", answered)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        answer, _ = await Run("a", session=session).post("a", server.make_url("/"), b"{}")
    return bytes(answer)


@pytest.mark.parametrize("text", ['{"price": 1.10}', "1e999", "9" * 5_000, '["ü", "\\u00fc"]'])
async def test_an_answer_is_kept_as_it_is_written(text: str) -> None:
    assert await answer_of(text) == text.encode()


async def test_an_answer_without_a_body_is_null() -> None:
    assert await answer_of("") == b"null"


@pytest.mark.parametrize("text", ['{"x": NaN}', "[-Infinity]", "[" * 100_000, "{"])
async def test_an_answer_that_is_no_json_is_a_fault_of_its_constituent(text: str) -> None:
    with pytest.raises(ConstituentFailed, match="a did not answer with JSON: "):
        await answer_of(text)


class Failing(Run):
    """A request whose constituents all fail in one moment, each with its own error."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(*(str(number) for number in range(len(errors))))
        self.errors = errors

    async def call(self, constituent: str, body: bytes, is_last: bool) -> None:
        del body, is_last
        raise self.errors[int(constituent)]


GONE, FAILED = ClientGone("gone"), ConstituentFailed("failed")
REFUSED, BUG = StandardPathRefused("refused"), KeyError("a bug")


@pytest.mark.parametrize("errors", [*permutations((GONE, FAILED, REFUSED, BUG))])
async def test_of_all_that_fails_at_once_a_client_that_is_gone_is_told(
    errors: tuple[Exception, ...],
) -> None:
    with pytest.raises(ClientGone):
        await Failing(*errors).execute()


@pytest.mark.parametrize("errors", [*permutations((FAILED, REFUSED, BUG))])
async def test_a_request_that_may_be_done_in_part_is_not_told_to_come_again(
    errors: tuple[Exception, ...],
) -> None:
    with pytest.raises(ConstituentFailed):
        await Failing(*errors).execute()


async def test_a_bug_beside_a_refusal_is_logged_and_the_refusal_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(StandardPathRefused):
        await Failing(REFUSED, BUG).execute()
    assert "a bug" in caplog.text
