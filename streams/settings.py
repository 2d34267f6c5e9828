"""Settings: one frozen value, read from the environment and passed down by the commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from streams.errors import SettingInvalid

__all__ = ["Settings"]


MOST = 2**31 - 1  # of a number: what Kafka's clients take
WORDS = {
    "clock": ("wall", "event"),
    "rnn": ("off", "on"),
    "trace_users": ("off", "on"),
    "kafka_security_protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "kafka_sasl_mechanism": ("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
}
SERVER = re.compile(
    r"(?:[^\s,:/\[\]]+|\[[^\s,/\[\]]+\])(?::(\d{1,5}))?"
)  # host or [IPv6], and port


def _setting(
    default: Any, about: str, *, secret: bool = False, least: int = 1, most: int = MOST
) -> Any:
    metadata = {"about": about, "least": least, "most": most}
    return field(default=default, repr=not secret, metadata=metadata)


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
    partitions: int = _setting(1, "partitions of every topic; each learns by itself", most=4_096)
    replication: int = _setting(1, "replicas of every topic")
    clock: str = _setting("wall", "'wall'; 'event' for a recorded log: only records move time")
    horizon_ms: int = _setting(60_000, "how far ahead `within` of a vector looks")
    rnn: str = _setting("off", "'on': predict with a recurrent network beside the counts")
    tick_ms: int = _setting(1_000, "how often demand is summed and the allocator decides")
    serve_ms: int = _setting(
        1_000, "how long a request is served, until it is measured; in a log, no time", least=0
    )
    commit_ms: int = _setting(500, "how often offsets are committed")
    idle_ms: int = _setting(
        2_000, "silence after which, in event time, a partition is passed over", least=0
    )
    session_ms: int = _setting(6_000, "silence after which a worker counts as dead")
    batch_records: int = _setting(1_000, "most records handled at once")
    batch_bytes: int = _setting(4 * 1024 * 1024, "most bytes handled at once")
    state_keys: int = _setting(200_000, "most users (or pools) a partition remembers")
    delivery_ms: int = _setting(30_000, "how long a delivery to Kafka may take")
    metrics_port: int = _setting(
        0, "port of the Prometheus endpoint; 0 for none", least=0, most=65_535
    )
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
    dashboard: str = _setting("127.0.0.1:8088", "address the dashboard listens on")
    dashboard_token_file: str = _setting(
        "",
        "the same for operators who change something in the dashboard [build/dashboard-token]",
    )
    tls_certificate: str = _setting("", "file with the certificate of listeners beyond loopback")
    tls_key: str = _setting("", "file with its key")
    tls_ca: str = _setting("", "file with the certificates to trust in listeners and in KEDA")
    hosts: str = _setting("", "further names that provisioner and dashboard are asked by: a,b")
    traces: str = _setting(
        "", "URL of a receiver of traces, http[s]://host:4318 (OTLP over HTTP); empty for none"
    )
    trace_every: int = _setting(100, "one of so many requests that come without a trace begins one")
    trace_users: str = _setting("off", "'on': spans name users")
    build: str = _setting("build", "directory of the local stack, the token and reports")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if fault := _fault(item.name, value, item.metadata):
                raise SettingInvalid(f"{self.variable(item.name)}={str(value)[:64]!r} {fault}")
        if self.kafka_security_protocol.startswith("SASL_"):
            for name in ("kafka_sasl_mechanism", "kafka_username", "kafka_password"):
                if not getattr(self, name):
                    raise SettingInvalid(
                        f"{self.variable('kafka_security_protocol')}"
                        f"={self.kafka_security_protocol!r} needs {self.variable(name)}"
                    )

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
    if not isinstance(default, int):
        return text
    try:
        return int(text)
    except ValueError:
        raise SettingInvalid(
            f"{Settings.variable(name)}={text[:64]!r} is no whole number"
        ) from None


def _fault(name: str, value: Any, metadata: Mapping[str, Any]) -> str:
    """Why a setting cannot be used; empty when it can."""
    if isinstance(value, int):
        least, most = metadata["least"], metadata["most"]
        return "" if least <= value <= most else f"is not between {least} and {most}"
    if "\0" in value or not _is_utf8(value):
        return "is no text in UTF-8"
    if (words := WORDS.get(name)) and value not in words:
        return f"is neither {', '.join(map(repr, words[:-1]))} nor {words[-1]!r}"
    fits, otherwise = FORMS.get(name, (bool, ""))
    return "" if fits(value) else otherwise


def _are_servers(text: str) -> bool:
    """Whether it names servers, each with a port that can be, or none."""
    found = [SERVER.fullmatch(part.strip()) for part in text.split(",")]
    return all(server and 0 < int(server[1] or 9_092) < 2**16 for server in found)


FORMS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "kafka": (_are_servers, "is no host:port[,host:port]"),
    "traces": (
        re.compile(r"(https?://[^/\s]+/?)?").fullmatch,
        "is no URL as http://127.0.0.1:4318",
    ),
    "prefix": (
        re.compile(r"[a-zA-Z0-9._-]{0,200}").fullmatch,
        "cannot begin the name of a topic: that has up to 249 letters, digits and . _ -",
    ),
}


def _is_utf8(text: str) -> bool:
    """Whether it could be encoded: what an environment has may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
