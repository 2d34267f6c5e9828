"""Where instances run in tests: one face for every provisioner, and ways to do harm."""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Self

from streams.provisioners.core.interface import InstanceRequest, ProvisionerLimits
from streams.provisioners.core.pool_provisioner import PoolProvisioner
from streams.provisioners.local.command_policy import CommandPolicy
from streams.provisioners.local.provisioner import LocalProvisioner
from streams.records import Instance, InstanceState
from streams.records.catalog import Catalog, Constituent, Resources
from streams.runtime.clock import wall_ms

__all__ = [
    "ANY",
    "House",
    "LayeredHouse",
    "LocalHouse",
    "Told",
    "local_provisioner",
    "until",
    "want",
]

ANY = CommandPolicy.of(["*"])


class Told:
    """What a provisioner published."""

    def __init__(self) -> None:
        self.records: list[Instance] = []

    def states(self, instance_id: str) -> list[InstanceState]:
        return [one.state for one in self.records if one.instance_id == instance_id]

    def last(self, *states: InstanceState) -> list[Instance]:
        newest = {one.instance_id: one for one in self.records}
        return [one for one in newest.values() if one.state in states]


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


async def until(check: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not check():  # noqa: ASYNC110 - what is checked knows of no event
            await asyncio.sleep(0.01)


def want(service: str, request_id: str = "r1", *, in_ms: int = 10_000) -> InstanceRequest:
    return InstanceRequest(service=service, request_id=request_id, deadline_ms=wall_ms() + in_ms)


class House(ABC):
    """A place with room for instances, in which provisioners live one after the other."""

    limits = ProvisionerLimits(grace_ms=20, claim_ms=1_000, stop_ms=2_000, start_ms=10_000)

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.told = Told()  # stands for the topic: it outlives a provisioner

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.now.close()

    @abstractmethod
    def make(self) -> PoolProvisioner[Any]:
        """A provisioner that is not open yet."""

    def serving(self) -> Sequence[Instance]:
        """The instances that requests may have, or will."""
        return [one for one in self.now.instances() if one.service not in self.catalog.bases]

    @abstractmethod
    async def crash(self, instance: Instance) -> None:
        """End an instance behind its provisioner's back."""

    @abstractmethod
    async def die(self) -> None:
        """End the provisioner without a word, and what would die with it."""

    @abstractmethod
    def running(self) -> int:
        """How many instances really run or are about to."""

    @classmethod
    @abstractmethod
    def slow(cls, name: str) -> Constituent:
        """A constituent that takes about a second to start."""

    async def open(self) -> PoolProvisioner[Any]:
        """Start a provisioner that knows what its predecessors published."""
        self.now = self.make()
        alive = set(InstanceState) - {InstanceState.GONE}
        await self.now.open(self.told.last(*alive))
        return self.now

    async def warm(self, count: int = 1) -> Sequence[Instance]:
        """So many warm instances, when they are."""
        await until(lambda: len(self.told.last(InstanceState.WARM)) == count)
        return self.told.last(InstanceState.WARM)

    def tell(self, instance: Instance) -> None:
        """Publish; what bases tell is no test's here."""
        if instance.service not in self.catalog.bases:
            self.told.records.append(instance)


class LocalHouse(House):
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
    def slow(cls, name: str) -> Constituent:
        from services import constituent  # noqa: PLC0415

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
