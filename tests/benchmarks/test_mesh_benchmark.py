"""What foremesh adds to Envoy: latency, throughput, and how soon a warm instance is used.

FOREMESH_BENCH_SCALE (a factor on all durations) makes it shorter.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import mesh_rig
import numpy as np
import pytest
from driver import CHECKOUT, HERE
from harness import RunForemesh, eventually
from meshed import Mesh, listens
from services import ONE, send

from streams.records import InstanceState
from streams.records.catalog import Composite, Constituent
from streams.runtime.clock import wall_ms
from streams.settings import Settings

SCALE = float(os.environ.get("FOREMESH_BENCH_SCALE", "1"))
ROUNDS = 3
RATE = 500
CHANGES = 50
# Without foremesh: in front of one instance, or of all that a pool has.
WITHOUT = ("plain", "spread")
WAYS = (*WITHOUT, "pool", "lease")
LATE = "cluster.foremesh-decide.upstream_rq_timeout"  # checks that were not waited for any longer


@pytest.mark.benchmark
@pytest.mark.timeout(1_800)
def test_what_foremesh_adds_to_envoy(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    assert topics
    with ExitStack() as open_:
        backend = open_.enter_context(mesh_rig.backend(tmp_path))
        instances = mesh_rig.thousand(backend)
        pool = [i.endpoint.removeprefix("http://") for i in instances if "pool" in i.service]
        places = {"plain": [f"127.0.0.1:{backend}"], "spread": pool}
        ports = {
            way: open_.enter_context(mesh_rig.plain(tmp_path, way, places[way])) for way in WITHOUT
        }
        mesh_rig.tell(settings, instances)
        mesh = Mesh(run_foremesh)
        mesh.env["FOREMESH_PROVISIONER"] = f"http://127.0.0.1:{backend}"  # takes reports of use
        mesh.start("control", "log", "decide", provisioner=False)
        edge = int(mesh.places.edge.rpartition(":")[2])
        eventually(lambda: all(get(edge, f"/{n}") == 200 for n in mesh_rig.names("pool")))
        ports |= {"pool": edge, "lease": edge}
        churn = mesh_rig.Churn(settings, instances, CHANGES)
        latency: dict[str, list[Any]] = {way: [] for way in WAYS}
        wrk: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                latency[way].append(steady(way, ports[way], churn))
        late = routed_after_ms(settings, edge, backend)
        activator = mesh.again("activate")  # at saturation some wait for an instance
        eventually(lambda: listens(activator, mesh.places.activate))
        for _ in range(ROUNDS):
            for way in WAYS:
                wrk[way].append(saturated(way, ports[way], tmp_path))
        result = {
            "latency_ms": {way: summary(found) for way, found in latency.items()},
            "requests_per_s": {way: round(median(found)) for way, found in wrk.items()},
            "routed_after_ms": {f"p{q}": round(float(np.percentile(late, q)), 1) for q in (50, 99)},
            "log": mesh.stats("access_logs.grpc_access_log.*"),
            "decided_late": mesh.stats(LATE)[LATE],
        }
        report(result)


def steady(way: str, port: int, churn: mesh_rig.Churn) -> dict[str, Any]:
    """Latency at a steady rate; with foremesh, while instances come and go."""
    paths = [f"/{name}" for name in mesh_rig.names("pool" if way in WITHOUT else way)]
    argv = [sys.executable, str(HERE / "http_load.py"), str(port), str(RATE), str(8 * SCALE)]
    if way in WITHOUT:
        told = subprocess.check_output([*argv, *paths])
    else:
        with churn:
            told = subprocess.check_output([*argv, *paths])
    found: dict[str, Any] = json.loads(told)
    print(way, found["said"], found["missed"])  # noqa: T201 - its purpose
    return found


def saturated(way: str, port: int, folder: Path) -> float:
    """Requests a second on 16 connections."""
    tool = shutil.which("wrk")
    assert tool, "wrk is missing: apt-get install wrk"
    script = folder / f"{way}.lua"
    paths = ",".join(f'"/{n}"' for n in mesh_rig.names("pool" if way in WITHOUT else way))
    script.write_text(
        f"local p = {{{paths}}}\nlocal n = 0\n"
        'local h = {["x-foremesh-user"] = "u1"}\n'
        'request = function() n = n % #p + 1 return wrk.format("GET", p[n], h) end\n'
    )
    argv = [tool, "-t1", "-c16", f"-d{max(1, round(4 * SCALE))}s", "-s", str(script)]
    told = subprocess.check_output([*argv, f"http://127.0.0.1:{port}"], text=True)
    print(way, told)  # noqa: T201 - its purpose
    return float(next(x for x in told.splitlines() if "Requests/sec" in x).split()[1])


def routed_after_ms(settings: Settings, edge: int, backend: int) -> list[float]:
    """From an instance's record on Kafka to the first request it serves; nobody else can."""
    late = Constituent(service="late", needs=ONE, warm_up_ms=100, price=1.0, concurrency=8)
    send(settings, [late, Composite(service="late", steps=(("late",),))])
    eventually(lambda: get(edge, "/late") == 503)
    taken = []
    for life in range(max(5, round(60 * SCALE))):
        made = mesh_rig.instance("late", 0, backend, life)
        send(settings, [made])
        began = time.perf_counter()
        while get(edge, "/late") != 200:
            assert time.perf_counter() - began < 5
        taken.append((time.perf_counter() - began) * 1e3)
        now_ms = wall_ms()
        gone = replace(made, state=InstanceState.GONE, changed_ms=now_ms, gone_ms=now_ms)
        send(settings, [gone])
        eventually(lambda: get(edge, "/late") == 503)
    return taken


def get(port: int, path: str) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"x-foremesh-user": "u1"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def summary(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {
        f"p{q}": round(median(float(np.percentile(one["ms"], q)) for one in rounds), 3)
        for q in (50, 90, 99)
    }


def report(result: dict[str, Any]) -> None:
    (CHECKOUT / "build" / "mesh_bench.json").write_text(json.dumps(result, indent=2) + "\n")
    plain = result["latency_ms"]["plain"]
    for way in WAYS:
        has, per_s = result["latency_ms"][way], result["requests_per_s"][way]
        added = {q: round(has[q] - plain[q], 3) for q in has}
        share = per_s / result["requests_per_s"]["plain"]
        print(f"{way}: {has}, added {added}; {per_s} requests/s ({share:.0%})")  # noqa: T201
    print(result["routed_after_ms"], result["log"], result["decided_late"], "late")  # noqa: T201 - its purpose
