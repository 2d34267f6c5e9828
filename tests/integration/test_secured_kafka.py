"""A Kafka that wants TLS and a password: every client of ours must bring both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from harness import RunForemesh, eventually
from secured import secured_kafka
from services import read, send

from streams.records import Prediction, Request
from streams.settings import Settings

USER = "mesh"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of such a Kafka, and of a user it knows."""
    with secured_kafka(tmp_path_factory.mktemp("secured"), [USER]) as (_, settings):
        yield replace(settings, kafka_username=USER)


@pytest.fixture
def settings(secured: Settings) -> Settings:
    """In the place of those of the plain Kafka, for whatever a test starts."""
    return secured


def test_the_flow_runs_on_a_kafka_with_tls_and_passwords(
    settings: Settings, run_foremesh: RunForemesh
) -> None:
    run_foremesh("topics", "create").finish()
    worker = run_foremesh("worker", "profiler", "aggregator")
    now_ms = time.time_ns() // 1_000_000
    asked = [
        Request(request_id=f"r{n}", user=f"user{n % 5}", service="only", at_ms=now_ms + n)
        for n in range(50)
    ]
    send(settings, asked)

    def predicted() -> set[str]:
        assert worker.process.poll() is None, worker.output
        found = read(settings, "predictions")
        return {one.request_id for one in found if isinstance(one, Prediction)}

    eventually(lambda: predicted() == {one.request_id for one in asked}, 60)
    assert worker.stop(30) == 0, worker.output


@pytest.mark.parametrize(
    "command",
    [
        "topics create",
        "catalog show",
        "control show",
        "dead-letters list",
        "gateway --listen 127.0.0.1:0",
        "keda --listen 127.0.0.1:0",
        "provision --listen 127.0.0.1:0",
    ],
)
def test_a_wrong_password_is_told_in_a_sentence(run_foremesh: RunForemesh, command: str) -> None:
    asked = run_foremesh(*command.split(), FOREMESH_KAFKA_PASSWORD="guessed")
    assert asked.wait(90) != 0
    assert "Traceback" not in asked.output
    assert "FOREMESH_KAFKA_PASSWORD" in asked.output


def test_a_certificate_that_is_not_trusted_is_told_in_a_sentence(run_foremesh: RunForemesh) -> None:
    asked = run_foremesh("topics", "create", FOREMESH_KAFKA_SSL_CA="")
    assert asked.wait(90) != 0
    assert "Traceback" not in asked.output
    assert "FOREMESH_KAFKA_SSL_CA" in asked.output
