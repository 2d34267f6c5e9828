"""Where everything listens, and what every request is held to."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Self

from streams.errors import SettingInvalid
from streams.runtime.addresses import address

__all__ = ["PROCESSES", "JwtProvider", "MeshAddresses", "RoutePolicy", "resolve"]

PROCESSES = ("control", "log", "decide", "activate", "compose", "envoy")  # foremesh mesh ...


def _place(default: str, about: str) -> Any:
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshAddresses:
    """Addresses, host:port each."""

    edge: str = _place("127.0.0.1:8000", "Envoy, for users")
    inner: str = _place("127.0.0.1:8001", "Envoy, for who orchestrates constituents")
    admin: str = _place("127.0.0.1:9901", "Envoy's own pages")
    control: str = _place("127.0.0.1:8082", "control plane (gRPC)")
    log: str = _place("127.0.0.1:8083", "access log service (gRPC)")
    decide: str = _place("127.0.0.1:8084", "decision service (HTTP)")
    leases: str = _place(
        "127.0.0.1:8087", "decision service, told which requests have ended (gRPC)"
    )
    activate: str = _place("127.0.0.1:8085", "activator (HTTP)")
    compose: str = _place("127.0.0.1:8086", "gateway behind Envoy (HTTP)")

    @classmethod
    def on(cls, ports: Iterable[int]) -> Self:
        """Places on loopback."""
        names = [f.name for f in fields(cls)]
        return cls(**{n: f"127.0.0.1:{p}" for n, p in zip(names, ports, strict=True)})

    @staticmethod
    def variable(name: str) -> str:
        """The environment variable of a place, or of another option of `foremesh mesh`."""
        return f"FOREMESH_MESH_{name.upper().replace('-', '_')}"

    def to_env(self) -> dict[str, str]:
        """These places as variables, for a child process."""
        return {self.variable(f.name): getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtProvider:
    """Whose tokens are accepted at the edge, and which claim names the user."""

    issuer: str
    jwks: str  # JSON Web Key Set
    claim: str = "sub"
    tier_claim: str = ""  # none: the header x-foremesh-tier is believed


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePolicy:
    """What holds for every request of a pool."""

    pool: str = "default"
    deadline_ms: int = 10_000
    decide_ms: int = 20  # a decision that takes longer is done without
    log_flush_ms: int = 100  # how late the log is
    lease_flush_ms: int = 10  # how late a leased instance is known to be free again
    jwt: JwtProvider | None = None


def resolve(place: str) -> tuple[str, int]:
    """The IP address and port of a place: Envoy takes no names for endpoints.

    Raises
    ------
    SettingInvalid
        The host is not known.
    """
    host, port = address(place)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SettingInvalid(f"the host of {place} is not known: {error.strerror}") from error
    return str(found[0][4][0]), port
