from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import permutations
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec import Raw

from streams.provisioners.core.interface import StandardPathRefused
from streams.request_path.core import json_answer
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


class Unreachable:
    """A session whose calls nobody answers; what was to be sent."""

    data = b""

    def post(self, *_: object, data: bytes, **__: object) -> None:
        self.data = data
        raise ConstituentFailed


async def test_a_constituent_gets_the_users_body_as_written_and_what_only_foremesh_knows() -> None:
    session = Unreachable()
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


@asynccontextmanager
async def answering(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    """A request, and the URL of a constituent that answers so."""
    app = web.Application()
    app.router.add_post("/", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Run("a", session=session), server.make_url("/")


async def _cut_off(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"content-length": "9"})
    await answer.prepare(request)
    await answer.write(b"{}")
    assert request.transport is not None
    request.transport.close()
    return answer


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"{", "application/json", "truncated"),
        (b"[" * 100_000, "application/json", "recursion"),
        (b"\xff", "application/json", "can't decode byte 0xff"),
        (b"{}", "text/plain; charset=base64", "is not a text encoding"),
        (b'{"x": NaN}', "application/json", "malformed"),
        (b"[-Infinity]", "application/json", "invalid"),
    ],
)
async def test_an_answer_that_nobody_can_read_is_a_fault_of_its_constituent(
    body: bytes, kind: str, said: str
) -> None:
    async def answered(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"content-type": kind})

    async with answering(answered) as (run, url):
        with pytest.raises(ConstituentFailed, match=f"a did not answer with JSON: .*{said}"):
            await run.post("a", url, b"{}")


@pytest.mark.parametrize(
    "body", [b"<h1>Internal Server Error</h1>", b"\xff", b'{"error": "broken"}']
)
async def test_an_error_is_told_by_its_status_whatever_its_body_is(body: bytes) -> None:
    async def failed(_: web.Request) -> web.Response:
        return web.Response(status=500, body=body)

    async with answering(failed) as (run, url):
        answer, response = await run.post("a", url, b"{}")
        with pytest.raises(ConstituentFailed, match="a answered with 500"):
            run.keep("a", answer, response.status)


@pytest.mark.parametrize("text", ['{"price": 1.10}', "1e999", "9" * 5_000, '["ü", "\\u00fc"]'])
async def test_an_answer_is_kept_as_it_is_written(text: str) -> None:
    async def answered(_: web.Request) -> web.Response:
        return web.Response(text=text)

    async with answering(answered) as (run, url):
        assert bytes((await run.post("a", url, b"{}"))[0]) == text.encode()


async def test_an_answer_that_is_cut_off_is_a_fault_of_its_constituent() -> None:
    async with answering(_cut_off) as (run, url):
        with pytest.raises(ConstituentFailed, match=r"a did not answer with JSON: .*payload"):
            await run.post("a", url, b"{}")


async def test_an_answer_without_end_is_read_to_its_bound_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(bytes(100_000))
        return answer

    monkeypatch.setattr(json_answer, "MOST_ANSWER_BYTES", 1_000_000)
    async with answering(endless) as (run, url):
        with pytest.raises(ConstituentFailed, match="larger than 1,000,000 bytes"):
            await run.post("a", url, b"{}")


@pytest.mark.parametrize("charset", ["utf-16", "utf8mb4"])
async def test_an_answer_is_read_as_it_says_it_is_encoded_if_there_is_such_an_encoding(
    charset: str,
) -> None:
    async def encoded(_: web.Request) -> web.Response:
        body = '"é"'.encode(charset if charset == "utf-16" else "utf-8")
        return web.Response(body=body, headers={"content-type": f"text/x; charset={charset}"})

    async with answering(encoded) as (run, url):
        assert bytes((await run.post("a", url, b"{}"))[0]) == '"é"'.encode()


async def test_an_answer_without_a_body_is_null() -> None:
    async def empty(_: web.Request) -> web.Response:
        return web.Response(body=b" ")

    async with answering(empty) as (run, url):
        assert bytes((await run.post("a", url, b"{}"))[0]) == b"null"


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
