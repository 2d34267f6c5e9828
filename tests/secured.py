"""A Kafka that wants TLS and a password, and knows some users."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but in no __all__
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from harness import CHECKOUT

from streams.devstack import tools
from streams.devstack.kafka import KafkaServer
from streams.runtime.ports import free_ports
from streams.settings import Settings

PASSWORD = "a secret with spaces"
MECHANISM = "SCRAM-SHA-512"


def keytool(*args: str) -> None:
    """The tool that comes with Java; its stores are what Kafka reads."""
    path = Path(tools.java().path).resolve().with_name("keytool")
    subprocess.run([str(path), *args], check=True, capture_output=True, timeout=60)


@contextmanager
def secured_kafka(
    folder: Path,
    users: Iterable[str],
    properties: Mapping[str, object] | None = None,
    java: Iterable[str] = (),
) -> Iterator[tuple[KafkaServer, Settings]]:
    """A Kafka whose certificate is its own, and settings for it of a user it does not know."""
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
            **(properties or {}),
        },
        java=java,
    )
    kafka.launch(tied=True)
    try:
        kafka.wait()
        admit(kafka.address, users)
        yield (
            kafka,
            Settings(
                kafka=f"127.0.0.1:{port}",
                kafka_security_protocol="SASL_SSL",
                kafka_sasl_mechanism=MECHANISM,
                kafka_username="nobody",
                kafka_password=PASSWORD,
                kafka_ssl_ca=str(certificate),
                partitions=2,
                commit_ms=100,
                session_ms=4_000,
                build=str(folder / "build"),
            ),
        )
    finally:
        kafka.stop()


def admit(address: str, users: Iterable[str]) -> None:
    """Tell Kafka of users, over its plain listener."""
    mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, mechanism, PASSWORD.encode()) for user in users
    ]
    client = AdminClient({"bootstrap.servers": address})
    for future in client.alter_user_scram_credentials(wanted).values():
        future.result(30)
