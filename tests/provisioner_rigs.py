"""Where instances run in tests: one face for every provisioner, and ways to do harm."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from services import constituent

from foremesh.testing.provisioners import ProvisionerHouse, Told, until, want
from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.local.command_policy import CommandPolicy
from streams.provisioners.local.provisioner import LocalProvisioner
from streams.records import Instance
from streams.records.catalog import Catalog, Constituent, Resources

__all__ = [
    "ANY",
    "LayeredHouse",
    "LocalHouse",
    "Told",
    "local_provisioner",
    "until",
    "want",
]

ANY = CommandPolicy.of(["*"])


@asynccontextmanager
async def local_provisioner(
    catalog: Catalog, limits: ProvisionerLimits
) -> AsyncIterator[tuple[LocalProvisioner, Told]]:
    told = Told()
    made = LocalProvisioner("default", lambda: catalog, told.records.append, limits, commands=ANY)
    await made.open()
    try:
        yield made, told
    finally:
        await made.close()


class LocalHouse(ProvisionerHouse):
    """This machine."""

    now: LocalProvisioner

    def make(self) -> LocalProvisioner:
        return LocalProvisioner(
            "default", lambda: self.catalog, self.tell, self.limits, commands=ANY
        )

    async def crash(self, instance: Instance) -> None:
        for held, child in self.now.lifecycle.children.items():
            if held.instance.instance_id == instance.instance_id:
                os.killpg(child.pid, signal.SIGKILL)

    async def die(self) -> None:
        # The watchdog would kill them; their records would not be written.
        self.now.ledger._emit = lambda _: None
        for child in self.now.lifecycle.children.values():
            # What a base forked ends with it, maybe before its turn comes here.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        await self.now.close()

    def running(self) -> int:
        return sum(not held.is_base for held in self.now.lifecycle.children)

    @classmethod
    def quick(cls, name: str, *, concurrency: int = 1) -> Constituent:
        return constituent(name, concurrency=concurrency)

    @classmethod
    def slow(cls, name: str) -> Constituent:
        return constituent(name, "--work-at-start", "20000000")


class LayeredHouse(LocalHouse):
    """This machine, where each instance is forked from a base that all share."""

    def __init__(self, catalog: Catalog) -> None:
        command = ("{python}", "-S", "-I", "{zygote}", "--import", "asyncio")
        base = Constituent(
            service="base", needs=Resources(), warm_up_ms=100, price=0.0, command=command
        )
        layered = [replace(one, base="base") for one in catalog.constituents.values()]
        super().__init__(Catalog.of([*catalog, base, *layered]))
