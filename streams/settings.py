"""Settings: one frozen value, read from the environment and passed down by the commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from streams.errors import SettingInvalid

__all__ = ["Settings"]


def _setting(default: Any, about: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"about": about})


def _clock(text: str) -> str:
    if text not in {"wall", "event"}:
        raise ValueError("'wall' or 'event'")
    return text


def _switch(text: str) -> str:
    if text not in {"off", "on"}:
        raise ValueError("'off' or 'on'")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. The variable of a field is FOREMESH_ and its name in capitals."""

    kafka: str = _setting("localhost:9092", "bootstrap servers, host:port[,host:port]")
    kafka_security_protocol: str = _setting("PLAINTEXT", "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL")
    kafka_sasl_mechanism: str = _setting("", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    kafka_username: str = _setting("", "SASL user")
    kafka_password: str = _setting("", "SASL password", secret=True)
    kafka_ssl_ca: str = _setting("", "file with the certificates to trust")
    kafka_ssl_certificate: str = _setting("", "file with the client's certificate")
    kafka_ssl_key: str = _setting("", "file with the client's key")
    postgres: str = _setting("postgresql://localhost/foremesh", "URL of the database", secret=True)
    prefix: str = _setting("", "put before the name of every topic and consumer group")
    partitions: int = _setting(8, "partitions of every topic")
    replication: int = _setting(1, "replicas of every topic")
    clock: str = _setting("wall", "'wall'; 'event' for a recorded log: only records move time")
    horizon_ms: int = _setting(60_000, "how far ahead `within` of a vector looks")
    rnn: str = _setting("off", "'on': predict with a recurrent network beside the counts")
    tick_ms: int = _setting(1_000, "how often demand is summed and the allocator decides")
    serve_ms: int = _setting(1_000, "how long a request is served, until it is measured")
    commit_ms: int = _setting(500, "how often offsets are committed")
    idle_ms: int = _setting(2_000, "silence after which, in event time, a partition is passed over")
    session_ms: int = _setting(6_000, "silence after which a worker counts as dead")
    batch_records: int = _setting(1_000, "most records handled at once")
    batch_bytes: int = _setting(4 * 1024 * 1024, "most bytes handled at once")
    state_keys: int = _setting(200_000, "most users (or pools) a partition remembers")
    delivery_ms: int = _setting(30_000, "how long a delivery to Kafka may take")
    metrics_port: int = _setting(0, "port of the Prometheus endpoint; 0 for none")
    metrics_host: str = _setting(
        "127.0.0.1", "where it listens; elsewhere than on loopback anyone can read the metrics"
    )
    gateway: str = _setting("127.0.0.1:8080", "address the gateway listens on")
    provisioner: str = _setting("http://127.0.0.1:8081", "where the provisioner listens")
    token_file: str = _setting(
        "", "file with the token that our processes show each other; made if missing [build/token]"
    )
    users_token_file: str = _setting(
        "", "the same for users of a gateway beyond loopback [build/users-token]"
    )
    tls_certificate: str = _setting("", "file with the certificate of listeners beyond loopback")
    tls_key: str = _setting("", "file with its key")
    tls_ca: str = _setting("", "file with the certificates to trust in listeners and in KEDA")
    hosts: str = _setting("", "further names that the provisioner is asked by: a,b")
    build: str = _setting("build", "directory of the local stack, the token and reports")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """The settings in an environment, by default that of this process.

        Raises
        ------
        SettingInvalid
            A variable cannot be read; the message names it.
        """
        variables = os.environ if env is None else env
        values: dict[str, Any] = {}
        for item in fields(cls):
            text = variables.get(cls.variable(item.name))
            if text is not None:
                values[item.name] = _read(item.name, item.default, text)
        return cls(**values)

    @staticmethod
    def variable(name: str) -> str:
        """The environment variable of a field."""
        return f"FOREMESH_{name.upper()}"

    def topic(self, name: str) -> str:
        """A topic's name on the broker."""
        return self.prefix + name

    def group(self, stage: str) -> str:
        """A stage's consumer group."""
        return f"{self.prefix}foremesh-{stage}"

    def to_env(self) -> dict[str, str]:
        """These settings as variables, for a child process."""
        return {self.variable(f.name): str(getattr(self, f.name)) for f in fields(self)}


def _read(name: str, default: Any, text: str) -> Any:
    readers: dict[str, Callable[[str], Any]] = {"clock": _clock, "rnn": _switch}
    reader = readers.get(name, type(default))
    try:
        value = reader(text)
    except ValueError as error:
        raise SettingInvalid(
            f"{Settings.variable(name)}={text!r} cannot be used: expected {error}"
        ) from None
    if isinstance(value, int) and value < 0:
        raise SettingInvalid(f"{Settings.variable(name)}={text!r} must not be negative")
    return value
