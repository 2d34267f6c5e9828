"""A shop: a release of the chart, what its operator sees of it, and requests of its users."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from control_plane import ControlPlane
from harness import CHECKOUT, DEADLINE_S, eventually
from neighbourhood import Neighbourhood

__all__ = [
    "AHEAD",
    "FOREMESH",
    "NAMESPACE",
    "Reply",
    "Shop",
    "all_served_once",
    "asked_during",
    "hit",
    "holds",
    "said",
]

NAMESPACE = "shop"
FOREMESH = "/opt/foremesh/bin/foremesh"
ASK_EVERY_S = 0.2
SETTLED_S = 10.0
TRIES = 60
# Of instances that a decision started, and no request.
AHEAD = "command_id IN (SELECT command_id FROM commands WHERE action = 'provision')"


@dataclass(frozen=True)
class Reply:
    """What was answered; the status is 0 where nothing was."""

    status: int
    said: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Shop:
    """A cluster with a release of the chart."""

    cluster: ControlPlane
    around: Neighbourhood
    folder: Path
    installed_s: float = 0.0  # monotonic
    services: Mapping[str, str] = field(default_factory=dict)  # addresses, by name

    def kubectl(self, *words: str, given: str = "") -> str:
        argv = ["kubectl", f"--kubeconfig={self.cluster.kubeconfig()}", "-n", NAMESPACE, *words]
        return said(argv, given)

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))
        return list(found["items"])

    def containers(self, part: str) -> dict[str, dict[str, Any]]:
        """What is known of the containers of a part's only pod, others that end apart."""
        pods = self.pods(**{"app.kubernetes.io/component": part})
        (pod,) = (pod for pod in pods if "deletionTimestamp" not in pod["metadata"])
        return {one["name"]: one for one in pod["status"].get("containerStatuses", ())}

    def restarted(self) -> dict[str, int]:
        """How often containers of the release were started again, those that were."""
        return {
            f"{pod['metadata']['name']}/{one['name']}": one["restartCount"]
            for pod in self.pods(**{"app.kubernetes.io/name": "foremesh"})
            for one in pod["status"].get("containerStatuses", ())
            if one["restartCount"]
        }

    def all_ready(self) -> bool:
        """Whether all that the release runs is ready, or has done its work."""
        pods = self.pods(**{"app.kubernetes.io/name": "foremesh"})
        statuses = [one for pod in pods for one in pod["status"].get("containerStatuses", [{}])]
        return all(one.get("ready") or "terminated" in one.get("state", ()) for one in statuses)

    def foremesh(self, *words: str) -> subprocess.Popen[bytes]:
        """A command of an operator at this machine."""
        env = {
            **os.environ,
            "FOREMESH_KAFKA": self.around.kafka,
            "FOREMESH_POSTGRES": self.around.postgres,
            "FOREMESH_BUILD": str(self.folder),
            "FOREMESH_PARTITIONS": "1",
        }
        return subprocess.Popen([sys.executable, "-m", "streams", *words], env=env)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.around.postgres) as connection:
            return connection.execute(sql.encode()).fetchall()

    async def ask(self, part: str, path: str, request_id: str, **headers: str) -> Reply:
        """Post to the Service of a part, over a connection of its own."""
        trust = ssl.create_default_context(cafile=str(self.folder / "access" / "ca.crt"))
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["x-request-id"] = request_id
        url = f"https://{self.services[part]}/{path}"
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, headers=sent, ssl=trust, server_hostname=part) as answer,
            ):
                return Reply(answer.status, await answer.text(), answer.headers)
        except aiohttp.ClientError as error:
            return Reply(0, repr(error), {})

    async def hang(self, part: str, container: str, *words: str) -> None:
        """Stop a process, by what it was called with, until Kubernetes has started it again."""
        await holds(lambda: len(pids(*words)) == 1)  # a pod before it may still be ending
        before = self.containers(part)[container]["restartCount"]
        (pid,) = pids(*words)
        os.kill(pid, signal.SIGSTOP)
        await holds(lambda: self.containers(part)[container]["restartCount"] == before + 1, 180)

    def roll(self, *parts: str) -> None:
        """Replace every pod of these parts."""
        self.kubectl("rollout", "restart", "deployment", *parts)
        for part in parts:
            self.kubectl("rollout", "status", f"deployment/{part}", "--timeout=90s")
        time.sleep(SETTLED_S)


async def holds(check: Callable[[], object], within_s: float = DEADLINE_S) -> None:
    """Wait until it does."""
    await asyncio.to_thread(eventually, check, within_s)


async def asked_during(
    work: Awaitable[None], ask: Callable[[int], Awaitable[Reply]]
) -> list[Reply]:
    """What was answered while something was done, five times a second."""
    done = asyncio.ensure_future(work)
    replies: list[Reply] = []
    while not done.done():
        began = time.monotonic()
        replies.append(await ask(len(replies)))
        await asyncio.sleep(max(0.0, ASK_EVERY_S - (time.monotonic() - began)))
    await done
    return replies


async def hit(ask: Callable[[str], Awaitable[Reply]], name: str) -> tuple[str, Reply]:
    """Ask until it is a hit: where others use the processors, a decision may come too late.

    The id of that request, and what was answered.
    """
    for number in range(TRIES):
        request_id = f"{name}-{number}"
        reply = await ask(request_id)
        assert reply.status != 500, reply.said
        if reply.headers.get("x-foremesh") == "hit":
            return request_id, reply
        await asyncio.sleep(1)
    raise AssertionError(f"{TRIES} requests, and none was a hit")


async def all_served_once(shop: Shop, replies: Sequence[Reply], request_ids: str) -> None:
    """Wait until each request has an outcome; AssertionError where one failed, or has two."""
    failed = [(n, one.status, one.said) for n, one in enumerate(replies) if one.status != 200]
    assert not failed, f"{len(failed)} of {len(replies)}: {failed[:20]}"
    counted = "SELECT count(*), count(DISTINCT request_id) FROM outcomes WHERE request_id LIKE"
    each_once = [(len(replies), len(replies))]
    await holds(lambda: shop.query(f"{counted} '{request_ids}%'") == each_once)


def said(argv: Sequence[str], given: str = "") -> str:
    done = subprocess.run(
        argv, input=given, capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def pids(*words: str) -> list[int]:
    """The processes in pods that were called with these words."""
    found, called = [], "\0".join(["", *words, ""]).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if called in b"\0" + path.read_bytes():
                found.append(int(path.parent.name))
    return found
