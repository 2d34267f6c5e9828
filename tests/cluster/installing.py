"""The chart, with what it asks an operator for, installed on one real node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from addons import Addon, coredns, run
from binaries import BUILD, programs
from buildah import saved
from control_plane import control_plane, self_signed
from harness import eventually
from helm import helm_program
from images import archive
from issuer import KEYS
from neighbourhood import Neighbourhood, neighbourhood
from node import HOST, node, wire
from shops import AHEAD, NAMESPACE, Shop, said
from tenant import deploy_cold, deployment_of

from streams.request_path.envoy.addresses import PROCESSES

__all__ = ["FIRST_WARM_S", "ON_A_NODE", "a_shop", "warmed"]

ON_A_NODE = [
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(os.geteuid() != 0, reason="a node needs root: it makes cgroups and mounts"),
]
VERSION = version("foremesh")
FIRST_WARM_S = 180
REQUEST_EVERY_S = 5
PARTS = ("worker", "sink", "provisioner", "gateway", "mesh", "dashboard", "planner", "keda")
SERVER = """
import http.server, json, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        said = json.dumps({"pod": os.environ["HOSTNAME"]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    do_POST = do_GET
time.sleep(2)  # a start takes time
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@contextlib.contextmanager
def a_shop(
    folder: Path,
    parts: Collection[str],
    constituents: Collection[str],
    images: Sequence[str] = ("foremesh",),
    addons: Sequence[Addon] = (),
) -> Iterator[Shop]:
    """The chart with these parts, installed on one real node where these Deployments are."""
    found, addons = programs(), (coredns(), *addons)
    for name in ("control", "node", "around"):
        (folder / name).mkdir()
    pause = folder / "pause.tar"
    sleep = ["/busybox", "sleep", "2147483647"]
    archive(pause, "docker.io/library/pause:1", {"busybox": Path(found["busybox"])}, sleep)
    archives = [pause, *(saved(one, VERSION, BUILD) for one in images)]
    for addon in addons:
        archives += addon.archives(found, folder)
    with (
        wire(),
        neighbourhood(folder / "around", HOST) as around,
        control_plane(found, folder / "control", HOST) as cluster,
        node(found, cluster, archives, folder / "node"),
    ):
        shop = Shop(cluster, around, folder)
        eventually(lambda: "True" in shop.kubectl(*NODE_READY), 180)
        run(addons, cluster.kubeconfig())
        prepare(shop, constituents)
        yield install(shop, small(around, parts))


NODE_READY = (
    *("get", "nodes", "-o"),
    'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}',
)


def prepare(shop: Shop, constituents: Collection[str]) -> None:
    """What the manifests ask an operator for: a namespace, Secrets, Deployments of constituents."""
    admin = str(shop.cluster.kubeconfig())
    said(["kubectl", f"--kubeconfig={admin}", "create", "namespace", NAMESPACE])
    folder = shop.folder / "access"
    folder.mkdir()
    self_signed(folder, "tls", "shop", f"DNS:provisioner,DNS:gateway,DNS:mesh,DNS:keda.{NAMESPACE}")
    shutil.copy(folder / "tls.crt", folder / "ca.crt")
    for name in ("token", "users-token", "dashboard-token"):
        (folder / name).write_text(name * 4)
    (folder / "jwks.json").write_text(json.dumps(KEYS))
    create = ("create", "secret", "generic")
    shop.kubectl(*create, "foremesh-access", f"--from-file={folder}")
    shop.kubectl(
        *create, "foremesh", f"--from-literal=FOREMESH_POSTGRES={shop.around.postgres_of_pods}"
    )
    asyncio.run(deploy(shop, constituents))


async def deploy(shop: Shop, constituents: Collection[str]) -> None:
    """Deployments without pods."""
    admin = shop.cluster.connect(NAMESPACE)
    for name in constituents:
        await deploy_cold(admin, deployment(name))
    await admin.close()


def install(shop: Shop, values: Mapping[str, Any]) -> Shop:
    """The chart; addresses of its Services are known then."""
    written = shop.folder / "values.yaml"
    written.write_text(json.dumps(values))
    began = time.monotonic()
    helm = [str(helm_program()), f"--kubeconfig={shop.cluster.kubeconfig()}"]
    said([*helm, "install", "mine", "deploy/helm", "-n", NAMESPACE, "-f", str(written)])
    found = json.loads(shop.kubectl("get", "services", "-o", "json"))["items"]
    addresses = {one["metadata"]["name"]: one["spec"]["clusterIP"] for one in found}
    return replace(shop, installed_s=began, services=addresses)


def small(around: Neighbourhood, parts: Collection[str]) -> dict[str, Any]:
    """Values for a cluster of one node."""
    little = {"resources": {"requests": {"cpu": "20m"}}}
    return {
        "image": {"pullPolicy": "Never"},
        "scaledBy": "keda" if "keda" in parts else "foremesh",
        "config": {
            "FOREMESH_KAFKA": around.kafka_of_pods,
            "FOREMESH_REPLICATION": "1",
            "FOREMESH_PARTITIONS": "1",
        },
        "parts": {
            name: {
                "replicas": 1,
                "containers": dict.fromkeys(PROCESSES if name == "mesh" else (name,), little),
            }
            if name in parts
            else {"enabled": False}
            for name in PARTS
        },
    }


def deployment(constituent: str) -> dict[str, Any]:
    """A constituent that takes seconds to start, and says which pod it is."""
    container = {
        "name": "main",
        "image": f"foremesh:{VERSION}",
        "imagePullPolicy": "Never",
        "command": ["python", "-c", SERVER],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
    }
    return deployment_of(
        constituent, {"terminationGracePeriodSeconds": 1, "containers": [container]}
    )


@contextlib.contextmanager
def warmed(shop: Shop, catalog: str, service: str, constituents: int = 1) -> Iterator[float]:
    """Load a catalogue and produce a log of requests for a composite, until there are warm pods.

    The time since `helm install`; the log is produced as long as the context lasts.
    """
    shop.kubectl("wait", "--for=condition=complete", "job", "--all", "--timeout=240s")
    (shop.folder / "catalog.yaml").write_text(catalog)
    assert shop.foremesh("catalog", "load", str(shop.folder / "catalog.yaml")).wait(60) == 0
    log = shop.folder / "log.csv"
    rows = [f"ann,{service},{1_762_500_000 + REQUEST_EVERY_S * n}" for n in range(600)]
    log.write_text("\n".join(["user,service,ts", *rows]) + "\n")
    fields = ("--user", "user", "--item", "service", "--time", "ts")
    played = shop.foremesh("produce", str(log), *fields, "--shift-to-now")
    try:
        warm = f"SELECT DISTINCT service FROM instances WHERE warm_since IS NOT NULL AND {AHEAD}"
        eventually(lambda: len(shop.query(warm)) == constituents, FIRST_WARM_S)
        yield time.monotonic() - shop.installed_s
    finally:
        played.terminate()
        played.wait()
