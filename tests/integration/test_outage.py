"""A Kafka that goes away and comes back: told at once, in few lines."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from harness import CHECKOUT, RunForemesh, Running, eventually
from meshed import Mesh
from services import Door, catalog_of, command, constituent, read, send

from streams.adapters.kafka.topics import create_topics
from streams.devstack.kafka import KafkaServer
from streams.provisioners.core.topic_views import all_instances
from streams.records import Instance, InstanceState, Prediction, Request
from streams.runtime.clock import wall_ms
from streams.runtime.ports import free_ports
from streams.settings import Settings

AWAY_S = 15.0
MOST_LINES = 120  # of a process, in all


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[tuple[KafkaServer, str]]:
    """A Kafka of this test, with a listener whose port stays."""
    [port] = free_ports(1)
    protocols = {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,STAYS:PLAINTEXT"
    }
    listeners = [f"STAYS://127.0.0.1:{port}"]
    server = KafkaServer(
        tmp_path / "kafka", CHECKOUT / "build", listeners=listeners, properties=protocols
    )
    server.launch(tied=True)
    try:
        server.wait()
        yield server, f"127.0.0.1:{port}"
    finally:
        server.stop()


@pytest.fixture
def settings(kafka: tuple[KafkaServer, str], settings: Settings) -> Settings:
    return replace(settings, kafka=kafka[1], partitions=2)


def health(at: str) -> dict[str, int]:
    with urllib.request.urlopen(f"http://{at}/healthz", timeout=2) as answer:
        found: dict[str, int] = json.load(answer)
        return found


def test_a_broker_that_goes_away_is_told_in_few_lines_and_the_flow_goes_on(
    kafka: tuple[KafkaServer, str], settings: Settings, run_foremesh: RunForemesh
) -> None:
    create_topics(settings)
    send(settings, catalog_of(constituent("a")))
    running = [run_foremesh("worker", "profiler", "feedback"), run_foremesh("sink")]
    door = Door(run_foremesh)
    running += [door.gateway, door.provisioner]
    ask = Request(request_id="r1", user="ann", service="only-a", at_ms=wall_ms())
    send(settings, [ask])
    eventually(lambda: len(predictions(settings)) == 1, 60)
    assert health(door.gateway_at)["kafka"] == health(door.provisioner_at)["kafka"] == 1

    kafka[0].stop()
    for one in running:
        eventually(lambda one=one: "Kafka does not answer at" in one.output, 20)  # type: ignore[misc]
    assert health(door.gateway_at)["kafka"] == health(door.provisioner_at)["kafka"] == 0
    time.sleep(AWAY_S)
    kafka[0].launch(tied=True)
    kafka[0].wait()

    for one in running:
        eventually(lambda one=one: "Kafka answers again" in one.output, 30)  # type: ignore[misc]
    send(settings, [replace(ask, request_id="r2", at_ms=wall_ms())])
    eventually(lambda: len(predictions(settings)) == 2, 90)
    assert health(door.gateway_at)["kafka"] == 1
    assert {
        one.args[0]: lines for one in running if (lines := one.output.count("\n")) > MOST_LINES
    } == {}


def test_a_planner_says_at_once_for_how_long_it_waits_for_a_broker(
    kafka: tuple[KafkaServer, str], settings: Settings, run_foremesh: RunForemesh
) -> None:
    create_topics(settings)
    send(settings, catalog_of(constituent("a")))
    planner = run_foremesh("provision", "--dry-run", FOREMESH_DELIVERY_MS="1000")
    send(settings, [command("a")])
    eventually(lambda: any(isinstance(one, Instance) for one in read(settings, "instances")), 60)

    kafka[0].stop()

    eventually(lambda: "after 5 s without it the worker ends" in planner.output, 20)
    assert planner.wait(60) == 1
    assert "provisioner cannot continue" in planner.output


def test_what_happened_to_instances_meanwhile_is_told_though_no_command_comes(
    kafka: tuple[KafkaServer, str], settings: Settings, run_foremesh: RunForemesh
) -> None:
    create_topics(settings)
    send(settings, catalog_of(constituent("a")))
    running = run_foremesh("provision", FOREMESH_DELIVERY_MS="1000")
    send(settings, [command("a")])
    eventually(lambda: [one.state for one in all_instances(settings)] == [InstanceState.WARM], 60)

    kafka[0].stop()
    eventually(lambda: "Kafka does not answer at" in running.output, 20)
    (service,) = services_of(running)
    service.kill()
    eventually(lambda: "not delivered to Kafka" in running.output, 30)
    kafka[0].launch(tied=True)
    kafka[0].wait()

    eventually(lambda: [one.state for one in all_instances(settings)] == [InstanceState.GONE], 60)


def test_the_processes_around_envoy_tell_that_a_broker_went_away(
    kafka: tuple[KafkaServer, str], settings: Settings, run_foremesh: RunForemesh
) -> None:
    create_topics(settings)
    send(settings, catalog_of(constituent("a")))
    mesh = Mesh(run_foremesh)
    around = mesh.start("control", "decide", "activate", "compose", provisioner=False, envoy=False)
    doors = mesh.places.decide, mesh.places.compose
    assert [health(at)["kafka"] for at in doors] == [1, 1]

    kafka[0].stop()

    for one in around.values():
        eventually(lambda one=one: "Kafka does not answer at" in one.output, 20)  # type: ignore[misc]
    assert [health(at)["kafka"] for at in doors] == [0, 0]


@pytest.mark.parametrize(
    "command",
    [
        *("worker", "sink", "gateway", "provision", "keda"),
        *("mesh control", "mesh decide", "mesh activate", "mesh log", "mesh compose"),
    ],
)
def test_a_start_without_a_broker_says_what_it_waits_for(
    run_foremesh: RunForemesh, command: str
) -> None:
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    started = run_foremesh(*command.split(), FOREMESH_KAFKA=nowhere)
    eventually(lambda: f"Kafka does not answer at {nowhere}" in started.output, 60)


def services_of(provisioner: Running) -> list[psutil.Process]:
    below = psutil.Process(provisioner.pid).children(recursive=True)
    return [one for one in below if any("small_service" in word for word in one.cmdline())]


def predictions(settings: Settings) -> list[Prediction]:
    return [one for one in read(settings, "predictions") if isinstance(one, Prediction)]
