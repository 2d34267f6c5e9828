"""The chart on a real node: a log produced, a pod started ahead, a request served by it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click
import psycopg
import pytest
from binaries import BUILD, programs
from buildah import saved
from checkout_catalog import checkout_catalog
from control_plane import ControlPlane, control_plane, self_signed
from harness import CHECKOUT, eventually
from helm import helm_program
from images import archive
from neighbourhood import Neighbourhood, neighbourhood
from node import HOST, NAME, node, wire

pytestmark = [
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(os.geteuid() != 0, reason="a node needs root: it makes cgroups and mounts"),
]

NAMESPACE = "shop"
FIRST_WARM_S, DRAIN_S = 180, 120
ASK_EVERY_S, SETTLED_S = 0.2, 10.0
PARTS = ("worker", "sink", "provisioner", "gateway")
SERVER = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    do_POST = do_GET
time.sleep(2)  # a start takes time
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
LABELS = {"foremesh.io/constituent": "pricing", "foremesh.io/pool": "default"}
PRICING = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "pricing-warm", "labels": LABELS},
    "spec": {
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "main",
                        "image": "foremesh:0.1.0",
                        "imagePullPolicy": "Never",
                        "command": ["python", "-c", SERVER],
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {
                            "httpGet": {"path": "/healthz", "port": 8080},
                            "periodSeconds": 1,
                        },
                    }
                ],
            },
        },
    },
}


@dataclass(frozen=True)
class Shop:
    """A cluster with a release of the chart."""

    cluster: ControlPlane
    around: Neighbourhood
    folder: Path
    installed_s: float  # monotonic

    def kubectl(self, *words: str, given: str = "") -> str:
        argv = ["kubectl", f"--kubeconfig={self.cluster.kubeconfig()}", "-n", NAMESPACE, *words]
        return said(argv, given)

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))
        return list(found["items"])

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


def said(argv: list[str], given: str = "") -> str:
    done = subprocess.run(
        argv, input=given, capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The chart, installed on one real node."""
    image = saved("foremesh", "0.1.0", BUILD)
    folder, found = tmp_path_factory.mktemp("shop"), programs()
    for name in ("control", "node", "around"):
        (folder / name).mkdir()
    pause = folder / "pause.tar"
    sleep = ["/busybox", "sleep", "2147483647"]
    archive(pause, "docker.io/library/pause:1", {"busybox": Path(found["busybox"])}, sleep)
    with (
        wire(),
        neighbourhood(folder / "around", HOST) as around,
        control_plane(found, folder / "control", HOST) as cluster,
        node(found, cluster, [pause, image], folder / "node"),
    ):
        shop = Shop(cluster, around, folder, 0.0)
        eventually(lambda: "True" in shop.kubectl(*NODE_READY), 180)
        yield install(shop)


NODE_READY = (
    *("get", "nodes", "-o"),
    'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}',
)


def install(shop: Shop) -> Shop:
    """Secrets and the Deployment of a constituent, then the chart."""
    admin = str(shop.cluster.kubeconfig())
    said(["kubectl", f"--kubeconfig={admin}", "create", "namespace", NAMESPACE])
    secrets(shop)
    shop.kubectl("apply", "-f", "-", given=json.dumps(PRICING))
    values = shop.folder / "values.yaml"
    values.write_text(json.dumps(small(shop.around)))
    helm = str(helm_program())
    began = time.monotonic()
    words = ["install", "mine", "deploy/helm", "-n", NAMESPACE, "-f", str(values)]
    said([helm, f"--kubeconfig={admin}", *words])
    for one in json.loads(shop.kubectl("get", "services", "-o", "json"))["items"]:
        name = f"{one['metadata']['name']}.{NAMESPACE}"
        shop.around.services[name] = one["spec"]["clusterIP"]
    return Shop(shop.cluster, shop.around, shop.folder, began)


def small(around: Neighbourhood) -> dict[str, Any]:
    """Values for a cluster of one node."""
    little = {"resources": {"requests": {"cpu": "20m"}}}
    parts: dict[str, Any] = {name: {"replicas": 1, "containers": {name: little}} for name in PARTS}
    for name in ("mesh", "dashboard"):
        parts[name] = {"enabled": False}
    return {
        "image": {"pullPolicy": "Never"},
        "config": {
            "FOREMESH_KAFKA": around.kafka_of_pods,
            "FOREMESH_REPLICATION": "1",
            "FOREMESH_PARTITIONS": "1",
        },
        "parts": parts,
    }


def secrets(shop: Shop) -> None:
    """What the manifests ask an operator for: tokens and a certificate."""
    folder = shop.folder / "access"
    folder.mkdir()
    self_signed(folder, "tls", "shop", "DNS:provisioner,DNS:gateway")
    shutil.copy(folder / "tls.crt", folder / "ca.crt")
    for name in ("token", "users-token", "dashboard-token"):
        (folder / name).write_text(name * 4)
    (folder / "jwks.json").write_text('{"keys": []}')
    create = ("create", "secret", "generic")
    shop.kubectl(*create, "foremesh-access", f"--from-file={folder}")
    shop.kubectl(
        *create, "foremesh", f"--from-literal=FOREMESH_POSTGRES={shop.around.postgres_of_pods}"
    )


def test_a_pod_is_warm_ahead_of_a_request_soon_after_the_chart_is_installed(shop: Shop) -> None:
    shop.kubectl("wait", "--for=condition=complete", "job", "--all", "--timeout=240s")
    (shop.folder / "catalog.yaml").write_text(checkout_catalog(0.001))
    assert shop.foremesh("catalog", "load", str(shop.folder / "catalog.yaml")).wait(60) == 0
    log = shop.folder / "log.csv"
    rows = [f"ann,checkout,{1_762_500_000 + 5 * n}" for n in range(60)]
    log.write_text("\n".join(["user,service,ts", *rows]) + "\n")
    fields = ("--user", "user", "--item", "service", "--time", "ts")
    played = shop.foremesh("produce", str(log), *fields, "--shift-to-now")
    ahead = (
        "SELECT 1 FROM instances WHERE warm_since IS NOT NULL AND command_id NOT LIKE 'standard/%'"
    )
    eventually(lambda: shop.query(ahead), FIRST_WARM_S)
    took = time.monotonic() - shop.installed_s
    played.terminate()
    played.wait()

    click.echo(f"\nhelm install to the first warm pod: {took:.0f} s")
    assert took < FIRST_WARM_S


async def test_a_request_is_served_by_the_pod_that_was_warm_and_is_a_row(shop: Shop) -> None:
    (pod,) = shop.pods(**{"app.kubernetes.io/component": "gateway"})
    url = f"https://{pod['status']['podIP']}:8080/checkout"
    trust = ssl.create_default_context(cafile=str(shop.folder / "access" / "ca.crt"))
    token = "users-token" * 4
    headers = {"authorization": f"Bearer {token}", "x-foremesh-user": "ann"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, headers=headers, ssl=trust, server_hostname="gateway") as answer,
    ):
        assert answer.status == 200
    await asyncio.to_thread(
        eventually,
        lambda: shop.query(
            "SELECT 1 FROM outcomes WHERE (result, route, source) = ('hit', 'preallocated', 'gateway')"
        ),
        60,
    )


def test_every_pod_of_the_release_is_ready(shop: Shop) -> None:
    def ready() -> bool:
        pods = shop.pods(**{"app.kubernetes.io/name": "foremesh"})
        statuses = [one for pod in pods for one in pod["status"]["containerStatuses"]]
        return all(one["ready"] or "terminated" in one["state"] for one in statuses)

    eventually(ready, 120)


def test_no_pod_of_the_release_was_restarted_while_it_waited_for_topics_and_tables(
    shop: Shop,
) -> None:
    pods = shop.pods(**{"app.kubernetes.io/name": "foremesh"})

    assert {
        pod["metadata"]["name"]: one["restartCount"]
        for pod in pods
        for one in pod["status"]["containerStatuses"]
        if one["restartCount"]
    } == {}


async def test_a_rolling_upgrade_fails_no_request_and_each_has_one_outcome(shop: Shop) -> None:
    rolled = asyncio.create_task(asyncio.to_thread(roll, shop))
    answers: list[int | str] = []
    while not rolled.done():
        began = time.monotonic()
        answers.append(await ask(shop, f"rolled-{len(answers)}"))
        await asyncio.sleep(max(0.0, ASK_EVERY_S - (time.monotonic() - began)))
    await rolled

    click.echo(f"\n{len(answers)} requests during a rolling upgrade")
    assert [(n, one) for n, one in enumerate(answers) if one != 200] == []
    sql = (
        "SELECT count(*), count(DISTINCT request_id) FROM outcomes WHERE request_id LIKE 'rolled-%'"
    )
    all_once = [(len(answers), len(answers))]
    await asyncio.to_thread(eventually, lambda: shop.query(sql) == all_once, 60)


def roll(shop: Shop) -> None:
    """Replace every pod of the release."""
    shop.kubectl("rollout", "restart", "deployment", *PARTS)
    for part in PARTS:
        shop.kubectl("rollout", "status", f"deployment/{part}", "--timeout=90s")
    time.sleep(SETTLED_S)


async def ask(shop: Shop, request_id: str) -> int | str:
    """Send a request to the Service over a connection of its own; the status, or what went wrong."""
    trust = ssl.create_default_context(cafile=str(shop.folder / "access" / "ca.crt"))
    token = "users-token" * 4
    headers = {"authorization": f"Bearer {token}", "x-foremesh-user": "ann"}
    headers["x-request-id"] = request_id
    url = f"https://{shop.around.services[f'gateway.{NAMESPACE}']}/checkout"
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, headers=headers, ssl=trust, server_hostname="gateway") as answer,
        ):
            return (
                answer.status if answer.status == 200 else f"{answer.status} {await answer.text()}"
            )
    except aiohttp.ClientError as error:
        return repr(error)


def test_a_worker_that_hangs_is_restarted(shop: Shop) -> None:
    (pid,) = pids("worker")
    os.kill(pid, 19)

    def restarts() -> int:
        (pod,) = shop.pods(**{"app.kubernetes.io/component": "worker"})
        return int(pod["status"]["containerStatuses"][0]["restartCount"])

    eventually(lambda: restarts() == 1, 180)


def test_a_node_is_drained_and_the_release_is_ready_again_once_there_is_one(shop: Shop) -> None:
    how = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={DRAIN_S}s")
    shop.kubectl("drain", NAME, *how)
    shop.kubectl("uncordon", NAME)

    shop.kubectl("wait", "--for=condition=available", "deployment", *PARTS, "--timeout=180s")


def pids(command: str) -> list[int]:
    """The processes of foremesh in pods that run a command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0")
        if words[1:3] == [b"/opt/foremesh/bin/foremesh", command.encode()]:
            found.append(int(path.parent.name))
    return found
