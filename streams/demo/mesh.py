"""The request path of one pool as processes: Envoy, its control services, the provisioner."""

from __future__ import annotations

from dataclasses import fields, replace

from streams.demo.processes import DemoProcesses
from streams.request_path.envoy.addresses import PROCESSES, MeshAddresses
from streams.runtime.ports import free_ports
from streams.settings import Settings

__all__ = ["DemoMesh"]


class DemoMesh:
    """Serves one pool between `open` and `close`.

    Parameters
    ----------
    processes
        Starts and stops the processes.
    pool
        Name of the pool.
    settings
        Settings of the processes, such as the address of Kafka.
    """

    def __init__(self, processes: DemoProcesses, pool: str, settings: Settings) -> None:
        self._processes = processes
        self._pool = pool
        provisioner, *ports = free_ports(1 + len(fields(MeshAddresses)))
        self._provisioner = f"127.0.0.1:{provisioner}"
        self._places = MeshAddresses.on(ports)
        self._settings = replace(settings, provisioner=f"http://{self._provisioner}")
        self.url = f"http://{self._places.edge}"

    def open(self, *provision: str) -> None:
        """Start all processes; returns once Envoy has its routes.

        Parameters
        ----------
        provision
            Options of `foremesh provision`.
        """
        provisioner = ("provision", "--pool", self._pool, *provision)
        self._start("provisioner", *provisioner)
        *driving, envoy = PROCESSES
        for name in driving:
            self._start(name, "mesh", name)
        at = self._places
        for place in (self._provisioner, at.decide, at.compose):
            self._processes.wait_for_answer(place)
        for place in (at.control, at.log, at.leases, at.activate):
            self._processes.wait_for_port(place)
        self._start(
            envoy, "mesh", envoy
        )  # last: requests before the log service runs have no outcome
        self._processes.wait_for_answer(at.edge)

    def close(self) -> None:
        """Stop all processes, Envoy first."""
        *driving, envoy = PROCESSES
        self._processes.stop(self._name(envoy))
        self._processes.stop_together(*map(self._name, ("provisioner", *driving)))

    def _start(self, name: str, *args: str, **env: str) -> None:
        env |= {MeshAddresses.variable("pool"): self._pool, **self._places.to_env()}
        self._processes.start(self._name(name), self._settings, *args, **env)

    def _name(self, process: str) -> str:
        return f"{process}-{self._pool}"
