"""A real Prometheus scrapes every process of a running stack by deploy/prometheus."""

from __future__ import annotations

import asyncio
import re
import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka import Producer
from dashboards import EXPRESSIONS
from harness import CHECKOUT, Running, eventually
from meshed import START_S, Mesh, listens
from prometheus import Prometheus, Tools, tools
from ruamel.yaml import YAML
from services import answers, catalog_of, constituent, send

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.adapters.kafka.topics import create_topics
from streams.adapters.metrics.definition import PROCESSES
from streams.adapters.metrics.table import TABLE
from streams.records import Request
from streams.records.catalog import Composite, Constituent
from streams.request_path.envoy.addresses import PROCESSES as MESH
from streams.runtime.clock import wall_ms
from streams.runtime.ports import free_ports
from streams.settings import Settings

FOLDER = CHECKOUT / "deploy" / "prometheus"
HELP = re.compile(r"^# HELP (foremesh_\w+) ", re.MULTILINE)
SAMPLE = re.compile(r"^(foremesh_\w+?)(?:_bucket|_sum|_count)?(?:\{[^}]*\})? ", re.MULTILINE)
# What only shows where something went wrong that does not here.
FAULTS = {"foremesh_failed_ticks_total"}


@dataclass(frozen=True)
class Watched:
    """A stack that has served requests, and the Prometheus that watches it."""

    at: Mapping[str, str]  # where each process serves its metrics
    prometheus: Prometheus

    def text(self, process: str) -> str:
        """What a process exposes."""
        with urllib.request.urlopen(f"http://{self.at[process]}/metrics", timeout=5) as answer:
            found: str = answer.read().decode()
        return found


@pytest.fixture(scope="module")
def watched(module_settings: Settings) -> Iterator[Watched]:
    settings, folder = module_settings, Path(module_settings.build).parent
    at = {name: f"127.0.0.1:{port}" for name, port in zip(PROCESSES, free_ports(10), strict=True)}
    running: list[Running] = []

    def run(*args: str, **env: str) -> Running:
        name = next(
            (name for name in PROCESSES if name.split() == [*args][: len(name.split())]), ""
        )
        allowed = {"FOREMESH_PROVISION_ALLOW_COMMAND": "*"}
        if name:
            allowed["FOREMESH_METRICS_PORT"] = at[name].rpartition(":")[2]
        output = folder / f"{len(running)}.log"
        running.append(Running(args, {**settings.to_env(), **allowed, **env}, output))
        return running[-1]

    create_topics(settings)
    send(settings, catalogue())
    try:
        start(run, settings)
        found, config = tools(CHECKOUT / "build"), configured(folder, at)
        server = folder / "prometheus"
        server.mkdir()
        with Prometheus.started(found, config, server) as prometheus:
            yield Watched(at, prometheus)
    finally:
        for one in running:
            one.kill()


def catalogue() -> list[Any]:
    broken = Constituent(
        service="broken", needs=constituent("a").needs, warm_up_ms=100, price=1.0,
        command=("{python}", "-c", "exit(3)"),
    )  # fmt: skip
    both = catalog_of(constituent("a"), constituent("b", concurrency=8), room=8)
    further = {"only-broken": "broken", "only-cold": "cold", "only-new": "new"}
    composites = [Composite(service=name, steps=((of,),)) for name, of in further.items()]
    return [*both, broken, constituent("cold"), constituent("new"), *composites]


def start(run: Any, settings: Settings) -> None:
    """Start every process, and have requests served, read from a log, and refused."""
    mesh = Mesh(run)
    run("worker")
    run("sink")
    mesh.start(*(name for name in MESH if name != "envoy"))
    gateway_at, keda_at = (f"127.0.0.1:{port}" for port in free_ports(2))
    gateway = run("gateway", "--listen", gateway_at, "--deadline-ms", "3000", **mesh.env)
    scaler = run("keda", "--listen", keda_at)
    eventually(lambda: answers(gateway, gateway_at), START_S)
    eventually(lambda: listens(scaler, keda_at), START_S)
    asyncio.run(ask(gateway_at, "only-a", "only-b", "together", "together", "only-broken"))
    asyncio.run(ask(mesh.places.edge, "only-a", "together", "only-new"))
    from_a_log(settings)


async def ask(at: str, *composites: str) -> None:
    async with aiohttp.ClientSession() as session:
        for name in composites:
            sent = {"x-foremesh-user": "ann"}
            async with session.post(f"http://{at}/{name}", json={}, headers=sent) as answer:
                await answer.read()


def from_a_log(settings: Settings) -> None:
    """Requests that nobody served, and bytes that are no request."""
    producer, topic = Producer(producer_config(settings)), settings.topic("requests")
    for number in range(20):
        user = f"u{number % 3}"
        service = "together" if number else "only-cold"
        request = Request(request_id=f"l{number}", user=user, service=service, at_ms=wall_ms() - 1)
        producer.produce(topic, codec.encode(request), user)
    producer.produce(topic, b"nonsense", b"u1")
    producer.flush(20)


def configured(folder: Path, at: Mapping[str, str]) -> Path:
    """The configuration of deploy/prometheus, with the ports that the processes have here."""
    yaml = YAML(typ="safe", pure=True)
    config = yaml.load(FOLDER / "prometheus.yml")
    config["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
    for one in config["scrape_configs"][0]["static_configs"]:
        one["targets"] = [at[one["labels"]["process"]]]
    for name in config["rule_files"]:
        shutil.copy(FOLDER / name, folder)
    with (folder / "prometheus.yml").open("w") as file:
        yaml.dump(config, file)
    return folder / "prometheus.yml"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_exposes_what_is_documented_of_it_and_nothing_else(
    watched: Watched, process: str
) -> None:
    assert set(HELP.findall(watched.text(process))) == {row.name for row in TABLE.of(process)}


@pytest.mark.parametrize("process", PROCESSES)
def test_what_is_documented_has_values_once_requests_were_served(
    watched: Watched, process: str
) -> None:
    documented = {row.name for row in TABLE.of(process)} - FAULTS

    def there() -> bool:
        assert documented <= set(SAMPLE.findall(watched.text(process)))
        return True

    eventually(there, 30)


def test_prometheus_finds_no_fault_with_how_metrics_are_exposed(watched: Watched) -> None:
    promtool: Tools = tools(CHECKOUT / "build")
    for process in PROCESSES:
        ours = "".join(
            line + "\n" for line in watched.text(process).splitlines() if "foremesh_" in line
        )
        promtool.check("check", "metrics", given=ours)


def test_every_target_is_up(watched: Watched) -> None:
    def health() -> dict[str, str]:
        targets = watched.prometheus.ask("targets")["activeTargets"]
        return {one["labels"]["process"]: one["health"] for one in targets}

    eventually(lambda: health() == dict.fromkeys(PROCESSES, "up"), 20)


def test_every_rule_is_evaluated_without_a_fault_and_no_alert_of_a_fault_fires(
    watched: Watched,
) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = watched.prometheus.ask("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    eventually(lambda: all(rule["health"] == "ok" for rule in rules()), 20)
    firing = {rule["name"] for rule in rules() if rule.get("state") == "firing"}
    assert firing <= {"ForemeshStartsFail", "ForemeshRequestsRefused"}  # one constituent is broken


def test_what_was_done_is_counted(watched: Watched) -> None:
    def sums(query: str) -> float:
        found = watched.prometheus.ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def counted() -> bool:
        assert sums('sum(foremesh_requests_total{process="gateway"})') == 5
        assert sums('sum(foremesh_requests_total{process="mesh log"})') == 3
        assert sums('sum(foremesh_requests_total{process="worker"})') == 20
        assert sums('sum(foremesh_dead_letters_total{reason="undecodable"})') == 1
        assert sums("sum(foremesh_predictions_scored_total)") >= 17
        assert sums("sum(foremesh_starts_total)") >= 2
        assert sums('sum(foremesh_start_failures_total{cause="exited"})') >= 1
        assert sums('sum(foremesh_lag{stage="sink"})') == 0
        assert sums("sum(foremesh_rows_total)") > 20
        return True

    eventually(counted, 30)


def test_every_panel_of_the_dashboards_can_be_asked_and_most_have_data(watched: Watched) -> None:
    def empty() -> list[str]:
        found = [(one, watched.prometheus.ask("query", query=one.text)) for one in EXPRESSIONS]
        return [str(one) for one, data in found if not data["result"]]

    eventually(lambda: len(empty()) < len(EXPRESSIONS) / 5, 60)
