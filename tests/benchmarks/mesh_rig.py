"""A thousand instances that are one Envoy, and an Envoy without foremesh to compare with."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from harness import eventually
from services import ONE, send

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.engine.producer import CheckedProducer
from streams.flow.topology import key_of
from streams.records import Instance, InstanceState
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Tier
from streams.request_path.envoy.binary import find_envoy
from streams.request_path.envoy.clusters import socket_address
from streams.runtime.clock import wall_ms
from streams.runtime.ports import free_ports
from streams.settings import Settings

SERVICES = 10  # of each mode
EACH = 50
_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    ".HttpConnectionManager"
)
_ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


def names(mode: str) -> list[str]:
    return [f"{mode}{n}" for n in range(SERVICES)]


def catalogue() -> Catalog:
    services = [
        Constituent(
            service=name,
            needs=ONE,
            warm_up_ms=100,
            price=1.0,
            concurrency=1 if mode == "lease" else 8,
        )
        for mode in ("pool", "lease")
        for name in names(mode)
    ]
    return Catalog.of(
        [
            *services,
            *(Composite(service=one.service, steps=((one.service,),)) for one in services),
            Tier(tier="standard", weight=1.0, sla_ms=2_000),
            Pool(pool="default", capacity=ONE.times(2_000)),
        ]
    )


def instance(service: str, number: int, port: int, life: int = 0) -> Instance:
    """A warm one at an address of its own."""
    index = next(
        i for i, name in enumerate([*names("pool"), *names("lease"), "late"]) if name == service
    )
    now_ms = wall_ms()
    return Instance(
        instance_id=f"{service}-{number}-{life}",
        service=service,
        pool="default",
        state=InstanceState.WARM,
        endpoint=f"http://127.0.{index + 1}.{number + 1}:{port}",
        command_id="bench",
        started_ms=now_ms - 100,
        changed_ms=now_ms,
        warm_since_ms=now_ms,
    )


def thousand(port: int) -> list[Instance]:
    return [
        instance(service, number, port)
        for mode in ("pool", "lease")
        for service in names(mode)
        for number in range(EACH)
    ]


class Churn:
    """Fifty changes a second: an instance goes, another comes in its place."""

    def __init__(self, settings: Settings, instances: list[Instance], per_s: float) -> None:
        self._settings, self._instances, self._per_s = settings, instances, per_s
        self._stop = threading.Event()
        self.changes = 0

    def __enter__(self) -> Self:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        producer = CheckedProducer({**producer_config(self._settings), "linger.ms": 0})
        topic = self._settings.topic("instances")
        began = time.monotonic()
        for number in itertools.count():
            if self._stop.wait(max(0.0, began + number / self._per_s - time.monotonic())):
                break
            at = (number // 2 * 37) % len(self._instances)
            was = self._instances[at]
            if number % 2 == 0:
                now_ms = wall_ms()
                told = replace(was, state=InstanceState.GONE, changed_ms=now_ms, gone_ms=now_ms)
            else:
                told = replace(was, instance_id=f"{was.instance_id.rpartition('-')[0]}-{number}")
                self._instances[at] = told
            producer.send(topic, key_of(told), codec.encode(told))
            self.changes += 1
        producer.flush(10)


def _listener(port: int, host: str, route: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "bench",
        "http_filters": [_ROUTER],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}
            ]
        },
    }
    return {
        "name": f"at-{port}",
        "address": {"socket_address": {"address": host, "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


@contextmanager
def envoy(
    folder: Path, name: str, listener: dict[str, Any], *clusters: dict[str, Any]
) -> Iterator[int]:
    """An Envoy with this configuration alone; its process id."""
    [admin] = free_ports(1)
    config = {
        "node": {"id": name, "cluster": "bench"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {"listeners": [listener], "clusters": list(clusters)},
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config))
    command = [find_envoy(), "-c", str(file), "--concurrency", "1", "-l", "error"]
    process = subprocess.Popen([*command, "--disable-hot-restart"])
    try:
        eventually(lambda: process.poll() is None and _ready(admin))
        yield process.pid
    finally:
        process.kill()
        process.wait(10)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def backend(folder: Path) -> Iterator[int]:
    """Answers at every address of loopback; its port."""
    [port] = free_ports(1)
    said = {"direct_response": {"status": 200, "body": {"inline_string": "{}" + " " * 200}}}
    with envoy(folder, "backend", _listener(port, "0.0.0.0", said)):
        yield port


@contextmanager
def plain(folder: Path, name: str, endpoints: Iterable[str]) -> Iterator[int]:
    """An Envoy in front of these addresses, without foremesh; its port."""
    [port] = free_ports(1)
    members = [{"endpoint": {"address": socket_address(place)}} for place in endpoints]
    cluster = {
        "name": "instance",
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "load_assignment": {
            "cluster_name": "instance",
            "endpoints": [{"lb_endpoints": members}],
        },
    }
    listener = _listener(port, "127.0.0.1", {"route": {"cluster": "instance"}})
    with envoy(folder, name, listener, cluster):
        yield port


def tell(settings: Settings, instances: list[Instance]) -> None:
    send(settings, [*catalogue(), *instances])
