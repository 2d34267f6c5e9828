"""How long a dead instance is still asked, under load: from its death until it is out of Envoy."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from collections import Counter

import aiohttp
import numpy as np
import psutil
import pytest
from driver import CHECKOUT
from harness import RunForemesh, Running, eventually
from meshed import Mesh
from services import catalog_of, command, constituent, send

from streams.settings import Settings

SCALE = float(os.environ.get("FOREMESH_BENCH_SCALE", "1"))
DEATHS = max(5, round(40 * SCALE))
RATE = 100  # requests/s
WARM = 3
TOTAL = "cluster.b.membership_total"  # warm instances and the standard path


@pytest.mark.benchmark
@pytest.mark.timeout(600)
async def test_how_long_a_dead_instance_is_still_asked(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("b", concurrency=8), room=8, idempotent=True))
    mesh = Mesh(run_foremesh)
    running = mesh.start("control", "log", "decide", "activate", "compose")
    answers: Counter[int] = Counter()
    taken = []
    async with aiohttp.ClientSession() as session:
        load = asyncio.create_task(_ask(mesh, session, answers))
        for death in range(DEATHS):
            count = 1 if death else WARM
            send(settings, [command("b", count=count, name=f"death-{death}")])
            await asyncio.to_thread(eventually, lambda: mesh.stats(TOTAL)[TOTAL] > WARM)
            await asyncio.sleep(0.3)
            taken.append(await _killed(mesh, running["provisioner"]))
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
    quantiles = {f"p{q}": round(float(np.percentile(taken, q)), 1) for q in (50, 99)}
    told = {"gone_after_ms": quantiles, "deaths": DEATHS, "answers": dict(answers)}
    (CHECKOUT / "build" / "dead_instance.json").write_text(json.dumps(told) + "\n")
    print(f"out of Envoy {quantiles} ms after its death, of {DEATHS}; {dict(answers)}")  # noqa: T201

    assert answers.keys() == {200}


async def _killed(mesh: Mesh, provisioner: Running) -> float:
    """Kill an instance; milliseconds until Envoy knows it no more."""
    instances = psutil.Process(provisioner.pid).children(recursive=True)
    one = next(p for p in instances if "small_service" in " ".join(p.cmdline()))
    address = f":{one.environ()['PORT']}::"
    assert address in _clusters(mesh)
    began = time.perf_counter()
    one.kill()
    while address in await asyncio.to_thread(_clusters, mesh):
        assert time.perf_counter() - began < 10
        await asyncio.sleep(0.001)
    return (time.perf_counter() - began) * 1e3


def _clusters(mesh: Mesh) -> str:
    with urllib.request.urlopen(f"http://{mesh.places.admin}/clusters", timeout=2) as answer:
        told: str = answer.read().decode()
    return told


async def _ask(mesh: Mesh, session: aiohttp.ClientSession, answers: Counter[int]) -> None:
    """Requests at a steady rate, until cancelled."""

    async def ask() -> None:
        answers[(await mesh.ask(session, "only-b")).status] += 1

    loop = asyncio.get_running_loop()
    began, asked = loop.time(), 0
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(ask())
            asked += 1
            await asyncio.sleep(began + asked / RATE - loop.time())
