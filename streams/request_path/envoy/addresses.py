"""The processes of a mesh, and the address at which each listens."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Self

from streams.errors import SettingInvalid
from streams.runtime.addresses import address

__all__ = ["PROCESSES", "MeshAddresses", "resolve"]

PROCESSES = (
    "control",
    "log",
    "decide",
    "activate",
    "compose",
    "envoy",
)  # as in `foremesh mesh control`, in the order of their start


def _address(default: str, about: str) -> Any:
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshAddresses:
    """The addresses (host:port) at which the processes of a mesh listen."""

    edge: str = _address("127.0.0.1:8000", "Envoy, for users")
    inner: str = _address("127.0.0.1:8001", "Envoy, for the gateway that orchestrates")
    admin: str = _address("127.0.0.1:9901", "Envoy's admin interface")
    control: str = _address("127.0.0.1:8082", "control plane (gRPC)")
    log: str = _address("127.0.0.1:8083", "access log service (gRPC)")
    decide: str = _address("127.0.0.1:8084", "decision service (HTTP)")
    leases: str = _address("127.0.0.1:8087", "decision service, for the ends of requests (gRPC)")
    activate: str = _address("127.0.0.1:8085", "activator (HTTP)")
    compose: str = _address("127.0.0.1:8086", "gateway behind Envoy (HTTP)")

    @classmethod
    def on(cls, ports: Iterable[int]) -> Self:
        """Addresses on loopback, with these ports."""
        names = [f.name for f in fields(cls)]
        return cls(**{n: f"127.0.0.1:{p}" for n, p in zip(names, ports, strict=True)})

    @staticmethod
    def variable(name: str) -> str:
        """The environment variable of an address, or of another option of `foremesh mesh`."""
        return f"FOREMESH_MESH_{name.upper().replace('-', '_')}"

    def to_env(self) -> dict[str, str]:
        """These addresses as environment variables, for a child process."""
        return {self.variable(f.name): getattr(self, f.name) for f in fields(self)}


def resolve(listen: str) -> tuple[str, int]:
    """The IP address and port of host:port: Envoy accepts no host names as endpoints.

    Raises
    ------
    SettingInvalid
        The host cannot be resolved.
    """
    host, port = address(listen)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SettingInvalid(
            f"the host of {listen} cannot be resolved: {error.strerror}"
        ) from error
    return str(found[0][4][0]), port
