"""Instances that owe an answer, as real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from test_claims import claims, instance, took, waiting

from streams.records import InstanceState
from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.request_path.core.unanswered import UnansweredInstances
from streams.runtime.clock import wall_ms

AGO_MS, AHEAD_MS = -1_000, 600_000


class Owing:
    """An instance that owes an answer, and answers whatever it is asked once `answers` is set."""

    def __init__(self, free: InstanceClaims, session: aiohttp.ClientSession) -> None:
        self.free, self.answers, self.asked = free, asyncio.Event(), asyncio.Event()
        self.unanswered = UnansweredInstances(free, session, lambda _: "/healthz", patience_s=0.1)

    async def answer(self, _: web.BaseRequest) -> web.Response:
        self.asked.set()
        await self.answers.wait()
        return web.Response(status=404)

    async def owe(self, deadline_ms: int) -> ClaimableInstance:
        """Claim it for a request that is given up; returns once it was asked at its health."""
        claimed = self.free.claim("a")
        assert claimed is not None
        self.unanswered.check(claimed, wall_ms() + deadline_ms)
        await self.asked.wait()
        return claimed

    async def next_claim(self) -> str:
        """Wait for the instance as a request does."""
        async with asyncio.timeout(10):
            return took(await waiting(self.free))


@asynccontextmanager
async def owing(concurrency: int = 1) -> AsyncIterator[Owing]:
    free = claims(concurrency=concurrency)
    async with aiohttp.ClientSession() as session:
        made = Owing(free, session)
        async with RawTestServer(made.answer) as server:
            free.observe(replace(instance("x"), endpoint=str(server.make_url("/"))))
            yield made
            made.answers.set()
            await made.unanswered.close()


async def done(claimed: ClaimableInstance) -> None:
    for _ in range(1_000):
        if not claimed.in_flight:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


async def test_an_instance_that_answers_anything_is_free_again() -> None:
    async with owing() as one:
        await one.owe(AHEAD_MS)
        assert one.free.claim("a") is None
        one.answers.set()
        assert await one.next_claim() == "x"


async def test_an_instance_of_several_requests_at_once_gets_none_while_it_owes_one() -> None:
    async with owing(concurrency=3) as one:
        other = one.free.claim("a")
        assert other is not None
        await one.owe(AHEAD_MS)
        one.free.release(other, 5)
        assert one.free.claim("a") is None
        one.answers.set()
        assert await one.next_claim() == "x"


async def test_an_instance_that_hangs_is_ended() -> None:
    async with owing() as one:
        await done(await one.owe(AGO_MS))
        assert [use.claimable for use in one.free.collect_reports()] == [False]


async def test_one_that_ended_meanwhile_is_not_said_to_hang(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with owing() as one:
        claimed = await one.owe(AGO_MS)
        one.free.observe(instance("x", state=InstanceState.GONE))
        await done(claimed)
    assert caplog.messages == []


async def test_an_instance_may_be_at_a_request_that_was_given_up_until_its_deadline() -> None:
    async with owing() as one:
        await one.owe(AHEAD_MS)
        await asyncio.sleep(0.3)  # longer than the patience after the deadline
        one.answers.set()
        assert await one.next_claim() == "x"
