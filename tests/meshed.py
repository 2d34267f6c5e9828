"""A real Envoy and all that drives it, as child processes."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import aiohttp
from harness import RunForemesh, Running, eventually
from services import Answer, answers

from streams.request_path.envoy.addresses import MeshAddresses
from streams.runtime.ports import free_ports

__all__ = ["START_S", "Mesh", "listens"]

START_S = 60.0  # nine processes at once take long on a busy machine


def free_places() -> MeshAddresses:
    return MeshAddresses.on(free_ports(len(fields(MeshAddresses))))


class Mesh:
    """Envoy, control plane, access log, decision service, activator, gateway, provisioner."""

    def __init__(self, run: RunForemesh, *, pool: str = "default") -> None:
        self.places = free_places()
        [port] = free_ports(1)
        self.provisioner_at = f"127.0.0.1:{port}"
        self._run = run
        self._pool = pool
        self.env = {
            "FOREMESH_PROVISIONER": f"http://{self.provisioner_at}",
            "FOREMESH_MESH_POOL": pool,
            **self.places.to_env(),
        }
        self.envoy: Running | None = None

    def start(
        self, *commands: str, provisioner: bool = True, envoy: bool = True, **env: str
    ) -> dict[str, Running]:
        """Start these commands of `foremesh mesh`, then Envoy; wait until it is told of services."""
        found: dict[str, Running] = {}
        if provisioner:
            listen = ("--pool", self._pool, "--listen", self.provisioner_at)
            found["provisioner"] = self._run("provision", *listen, **{**self.env, **env})
        for name in commands:
            found[name] = self.again(name, **env)
        if provisioner:
            eventually(lambda: answers(found["provisioner"], self.provisioner_at), START_S)
        for name, at in (("decide", self.places.decide), ("compose", self.places.compose)):
            if name in found:
                eventually(lambda name=name, at=at: answers(found[name], at), START_S)  # type: ignore[misc]
        for name, at in (
            ("activate", self.places.activate),
            ("log", self.places.log),
            ("decide", self.places.leases),
        ):
            if name in found:
                eventually(lambda name=name, at=at: listens(found[name], at), START_S)  # type: ignore[misc]
        if envoy:
            self.start_envoy()
        return found

    def again(self, name: str, **env: str) -> Running:
        return self._run("mesh", name, **{**self.env, **env})

    def start_envoy(self) -> None:
        self.envoy = self.again("envoy")
        eventually(lambda: answers(self.envoy, self.places.edge), START_S)  # type: ignore[arg-type]

    def stats(self, pattern: str) -> dict[str, int]:
        """Values of Envoy's counters and gauges."""
        url = f"http://{self.places.admin}/stats?format=json&filter={pattern}"
        with urllib.request.urlopen(url, timeout=2) as answer:
            stats = json.load(answer)["stats"]
        return {stat["name"]: stat["value"] for stat in stats if "value" in stat}

    async def ask(
        self,
        session: aiohttp.ClientSession,
        path: str,
        user: str = "u1",
        at: str = "",
        **headers: str,
    ) -> Answer:
        url = f"http://{at or self.places.edge}/{path}"
        sent: Mapping[str, str] = {"x-foremesh-user": user, **headers}
        async with session.post(url, json={"width": 512}, headers=sent) as answer:
            text = await answer.text()
            told: Any = json.loads(text) if text.startswith("{") else {"said": text}
            return Answer(answer.status, answer.headers, told)


def listens(running: Running, at: str) -> bool:
    if running.process.poll() is not None:
        raise RuntimeError(running.output)
    host, _, port = at.rpartition(":")
    with socket.socket() as one:
        return one.connect_ex((host, int(port))) == 0
