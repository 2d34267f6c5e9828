"""The mesh of one pool: Envoy, all that drives it, and the instances behind it, as processes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from streams.demo.company import DemoProcesses
from streams.devstack.child import free_ports
from streams.request_path.envoy.addresses import PROCESSES, Places
from streams.settings import Settings

__all__ = ["DemoMesh"]


class DemoMesh:
    """Serves a pool from `open` to `close`.

    Parameters
    ----------
    company
        Whose processes they are.
    pool
        Its pool.
    settings
        Where Kafka is.
    """

    def __init__(self, company: DemoProcesses, pool: str, settings: Settings) -> None:
        self._company = company
        self._pool = pool
        provisioner, *ports = free_ports(1 + len(fields(Places)))
        self._provisioner = f"127.0.0.1:{provisioner}"
        self._places = Places.on(ports)
        self._settings = replace(settings, provisioner=f"http://{self._provisioner}")
        self.url = f"http://{self._places.edge}"

    def open(self, *provision: str, models: Path) -> None:
        """Start all of it; returns when Envoy knows its routes.

        Parameters
        ----------
        provision
            Options of the provisioner.
        models
            Folder of the instances' models.
        """
        provisioner = ("provision", "--pool", self._pool, *provision)
        self._start("provisioner", *provisioner, MODEL_FOLDER=str(models))
        *driving, envoy = PROCESSES
        for name in driving:
            self._start(name, "mesh", name)
        at = self._places
        for place in (self._provisioner, at.decide, at.compose):
            self._company.wait_for_answer(place)
        for place in (at.control, at.log, at.leases, at.activate):
            self._company.wait_for_port(place)
        self._start(envoy, "mesh", envoy)  # last: what cannot be logged yet has no outcome
        self._company.wait_for_answer(at.edge)

    def close(self) -> None:
        """End all of it, Envoy first."""
        self._company.stop(*map(self._name, reversed(("provisioner", *PROCESSES))))

    def _start(self, name: str, *args: str, **env: str) -> None:
        env |= {Places.variable("pool"): self._pool, **self._places.to_env()}
        self._company.start(self._name(name), self._settings, *args, **env)

    def _name(self, process: str) -> str:
        return f"{process}-{self._pool}"
