from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from services import catalog_of, constituent

from streams.provisioners.core.interface import StandardPathRefused
from streams.request_path.core.headers import CONSTITUENT_HEADER, TIER_HEADER
from streams.request_path.core.warm_pool import WarmPool
from streams.request_path.envoy.activator import StandardPathProxy, time_left_ms
from streams.request_path.envoy.decision_client import DecisionClient


@pytest.mark.parametrize(
    ("headers", "left_ms"),
    [
        ({"x-envoy-expected-rq-timeout-ms": "250"}, 250),
        ({"x-envoy-expected-rq-timeout-ms": "99000"}, 10_000),
        ({"x-envoy-expected-rq-timeout-ms": "soon"}, 10_000),
        ({"x-envoy-expected-rq-timeout-ms": "²"}, 10_000),
        ({"x-envoy-expected-rq-timeout-ms": "9" * 5_000}, 10_000),
        ({}, 10_000),
    ],
)
def test_a_request_waits_as_long_as_envoy_does_and_no_longer_than_its_deadline(
    headers: dict[str, str], left_ms: int
) -> None:
    assert time_left_ms(headers, 10_000) == left_ms


class Decisions:
    """A decision service that refuses everything; what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def acquire(self, *asked: object) -> None:
        self.asked.append(asked)
        raise StandardPathRefused("no room")


async def asked_with(headers: dict[str, str]) -> tuple[object, ...]:
    """What the decision service is asked for a request with these headers."""
    decisions = Decisions()
    warm = cast("WarmPool", SimpleNamespace(catalog=catalog_of(constituent("a"))))
    async with aiohttp.ClientSession() as session:
        proxy = StandardPathProxy(warm, cast("DecisionClient", decisions), session, 10_000)
        app = web.Application()
        app.router.add_route("*", "/", proxy.serve)
        async with TestServer(app) as server:
            asking = {**headers, CONSTITUENT_HEADER: "a"}
            async with session.get(server.make_url("/"), headers=asking) as answer:
                assert answer.status == 503
    return decisions.asked[0]


async def test_a_request_id_that_is_too_long_is_told_as_its_record_has_it() -> None:
    _, told, *_ = await asked_with({"x-request-id": "r" * 5_000})

    assert isinstance(told, str)
    assert len(told) == 256
    assert told.startswith("r" * 100)


@pytest.mark.parametrize(("tier", "priority"), [("gold", 2), ("standard", 0), ("tin", 0)])
async def test_a_request_waits_with_the_priority_of_its_tier(tier: str, priority: int) -> None:
    assert (await asked_with({TIER_HEADER: tier}))[-1] == priority
