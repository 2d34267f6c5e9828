from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Part, Request
from streams.records.catalog import Composite
from streams.request_path.core.orchestration import ConstituentFailed
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.request_path.gateway.through_envoy import EnvoyRequestHandler, merge_parts
from streams.runtime.clock import wall_ms

COLD = Part(service="a", warm=False, instance_id="a-1", wait_ms=180, serve_ms=1, warm_up_ms=175)


def test_a_cold_constituent_served_for_the_time_that_was_not_waiting() -> None:
    assert merge_parts(None, COLD, 200) == Part(
        service="a", warm=False, instance_id="a-1", wait_ms=180, serve_ms=20, warm_up_ms=175
    )


def test_a_constituent_called_in_two_steps_served_for_both() -> None:
    first = merge_parts(None, COLD, 200)
    again = Part(service="a", warm=True, instance_id="a-1")

    assert merge_parts(first, again, 5).serve_ms == 25


def test_one_that_was_cold_in_its_first_step_stays_cold() -> None:
    again = merge_parts(COLD, Part(service="a", warm=True, instance_id="a-2"), 5)

    assert (again.warm, again.wait_ms, again.warm_up_ms) == (False, 180, 175)
    assert again.instance_id == "a-2"


def test_one_that_was_warm_in_its_first_step_stays_warm() -> None:
    assert merge_parts(Part(service="a", warm=True), COLD, 200).warm


def test_a_wait_longer_than_the_whole_call_leaves_no_time_to_serve() -> None:
    assert merge_parts(None, COLD, 100).serve_ms == 0


async def answered(text: str, status: int, headers: Mapping[str, str]) -> None:
    """Run a request of which Envoy's answer for its only constituent is this."""

    async def envoy(_: web.BaseRequest) -> web.Response:
        return web.Response(text=text, status=status, headers=headers)

    async with RawTestServer(envoy) as server, aiohttp.ClientSession() as session:
        handler = EnvoyRequestHandler(
            "default",
            60_000,
            watch=cast("CatalogAndInstanceWatch", None),
            session=session,
            url=str(server.make_url("/")),
            broker=cast("BrokerWatch", None),
        )
        request = Request(request_id="r", user="ann", service="c", at_ms=wall_ms())
        composite = Composite(service="c", steps=(("a",),))
        await handler.start_run(composite, request, {}, idempotent=False).execute()


async def test_a_refusal_in_envoys_own_words_is_told_with_when_to_come_again() -> None:
    with pytest.raises(StandardPathRefused, match="a is not available") as refused:
        await answered("no healthy upstream", 503, {"retry-after": "7"})
    assert refused.value.retry_after_s == 7


async def test_a_503_of_an_instance_is_a_failure_of_it_also_where_it_is_no_json() -> None:
    timing = {"server-timing": "a;desc=hit;dur=1;instance=a-1"}
    with pytest.raises(ConstituentFailed, match="a answered with 503"):
        await answered("<h1>busy</h1>", 503, timing)
