"""Instances that owe an answer, as real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from test_claims import claims, instance, took

from streams.request_path.core.claims import InstanceClaims
from streams.request_path.core.unanswered import UnansweredInstances

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]


async def no_such_path(_: web.BaseRequest) -> web.Response:
    return web.Response(status=404)


async def nothing(_: web.BaseRequest) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def owing(session: aiohttp.ClientSession, handler: Handler) -> InstanceClaims:
    """Claims of which the only one owed an answer, after a while."""
    free = claims()
    async with RawTestServer(handler) as server:
        free.observe(replace(instance("x"), endpoint=str(server.make_url("/"))))
        claimed = free.claim("a")
        assert claimed is not None
        unanswered = UnansweredInstances(free, session, lambda _: "/healthz", patience_s=0.2)
        unanswered.check(claimed)
        await asyncio.sleep(0)
        assert free.claim("a") is None
        await asyncio.sleep(0.4)
        await unanswered.close()
    return free


async def test_an_instance_that_answers_anything_is_free_again(
    session: aiohttp.ClientSession,
) -> None:
    free = await owing(session, no_such_path)
    assert took(free.claim("a")) == "x"


async def test_an_instance_that_hangs_is_ended(session: aiohttp.ClientSession) -> None:
    free = await owing(session, nothing)
    assert free.claim("a") is None
    assert [use.claimable for use in free.collect_reports()] == [False]
