"""What the gateway adds to a hit, at a steady rate, against the instance asked directly."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import numpy as np
import pytest
from harness import RunForemesh
from services import Door, catalog_of, constituent, read, send

from streams.records import Instance, InstanceState
from streams.settings import Settings

RATE = 100  # requests a second, half of them direct
SECONDS = 10.0


def quantiles(took_ms: list[float]) -> str:
    p50, p99 = np.quantile(took_ms, (0.5, 0.99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


@pytest.mark.benchmark
async def test_latency_that_the_gateway_adds_to_a_hit(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a", concurrency=16)))
    door = Door(run_foremesh)
    headers = {"x-foremesh-user": "u1"}
    took: dict[str, list[float]] = {"direct": [], "through the gateway": []}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await door.ask(session, "only-a")
        told = [x for x in read(settings, "instances") if isinstance(x, Instance)]
        (warm,) = [x for x in told if x.state is InstanceState.WARM and x.uses == 0]
        urls = dict(zip(took, (warm.endpoint, f"http://{door.gateway_at}/only-a"), strict=True))

        async def one(way: str) -> None:
            began = time.perf_counter()
            async with session.post(urls[way], json={}, headers=headers) as answer:
                await answer.read()
                assert answer.status == 200
            took[way].append((time.perf_counter() - began) * 1000)

        async with asyncio.TaskGroup() as group:
            for number in range(round(RATE * SECONDS)):
                group.create_task(one(list(took)[number % 2]))
                await asyncio.sleep(1 / RATE)

    for way, values in took.items():
        print(f"{way}: {quantiles(values)} ({len(values)} requests)")  # noqa: T201 - its purpose
    added = np.quantile(took["through the gateway"], 0.5) - np.quantile(took["direct"], 0.5)
    print(f"added at the median: {added:.2f} ms")  # noqa: T201 - its purpose
