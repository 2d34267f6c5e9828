"""A Kafka that wants TLS and a password: every client of ours must bring both."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from harness import CHECKOUT, RunForemesh, eventually
from services import read, send

from streams.devstack import tools
from streams.devstack.child import free_ports
from streams.devstack.kafka import KafkaServer
from streams.records import Prediction, Request
from streams.settings import Settings

USER, PASSWORD = "mesh", "a secret with spaces"
MECHANISM = "SCRAM-SHA-512"


def keytool(*args: str) -> None:
    """The tool that comes with Java; its stores are what Kafka reads."""
    path = Path(tools.java()).resolve().with_name("keytool")
    subprocess.run([str(path), *args], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a Kafka whose certificate is its own, and of a user it knows."""
    folder = tmp_path_factory.mktemp("secured")
    store, certificate = folder / "kafka.p12", folder / "ca.pem"
    of_store = ("-alias", "kafka", "-keystore", str(store), "-storepass", "changeit")
    keytool(
        "-genkeypair", *of_store, "-storetype", "PKCS12", "-keyalg", "RSA", "-validity", "2",
        "-dname", "CN=kafka", "-ext", "san=ip:127.0.0.1",
    )  # fmt: skip
    keytool("-exportcert", "-rfc", *of_store, "-file", str(certificate))
    [port] = free_ports(1)
    names = ("PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT", "SECURED:SASL_SSL")
    of_listener = "listener.name.secured."
    kafka = KafkaServer(
        folder / "kafka",
        CHECKOUT / "build",
        listeners=[f"SECURED://127.0.0.1:{port}"],
        properties={
            "listener.security.protocol.map": ",".join(names),
            f"{of_listener}ssl.keystore.location": store,
            f"{of_listener}ssl.keystore.password": "changeit",
            f"{of_listener}sasl.enabled.mechanisms": MECHANISM,
            f"{of_listener}{MECHANISM.lower()}.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        },
    )
    kafka.launch(tied=True)
    try:
        kafka.wait()
        admit(kafka.address)
        yield Settings(
            kafka=f"127.0.0.1:{port}",
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_mechanism=MECHANISM,
            kafka_username=USER,
            kafka_password=PASSWORD,
            kafka_ssl_ca=str(certificate),
            partitions=2,
            commit_ms=100,
            build=str(folder / "build"),
        )
    finally:
        kafka.stop()


def admit(address: str) -> None:
    """Tell Kafka of the user, over its plain listener."""
    mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = UserScramCredentialUpsertion(USER, mechanism, PASSWORD.encode())
    client = AdminClient({"bootstrap.servers": address})
    for future in client.alter_user_scram_credentials([wanted]).values():
        future.result(30)


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


def test_a_wrong_password_is_told_in_a_sentence(run_foremesh: RunForemesh) -> None:
    asked = run_foremesh("topics", "create", FOREMESH_KAFKA_PASSWORD="guessed")
    assert asked.wait(90) != 0
    assert "Traceback" not in asked.output
    assert "FOREMESH_KAFKA_PASSWORD" in asked.output


def test_a_certificate_that_is_not_trusted_is_told_in_a_sentence(run_foremesh: RunForemesh) -> None:
    asked = run_foremesh("topics", "create", FOREMESH_KAFKA_SSL_CA="")
    assert asked.wait(90) != 0
    assert "Traceback" not in asked.output
    assert "FOREMESH_KAFKA_SSL_CA" in asked.output
