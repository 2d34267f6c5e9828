"""A namespace of a real cluster, with a Deployment for each constituent, for the provisioners' tests."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Self

from control_plane import ControlPlane
from kube import DeploymentHouse
from lightkube import AsyncClient
from lightkube.resources.core_v1 import Pod
from tenant import Tenant

from foremesh.testing.provisioners import ONE
from streams.records import Instance
from streams.records.catalog import Catalog, Constituent

__all__ = ["ClusterHouse"]

SLOW, AT_ONCE = "slow", 32


class ClusterHouse(DeploymentHouse):
    """Pods on kwok's nodes, started by the manifests' own service account."""

    cluster: ClassVar[ControlPlane]  # set by the fixture of that name

    def __init__(self, catalog: Catalog, *, take_over: bool = False) -> None:
        super().__init__(catalog, take_over=take_over)
        self.tenant = Tenant(self.cluster)

    def connect(self) -> AsyncClient:
        return self.tenant.connect()

    async def __aenter__(self) -> Self:
        await self.tenant.__aenter__()
        services = list(self.catalog.constituents)
        for first in range(0, len(services), AT_ONCE):
            await asyncio.gather(*map(self._deploy, services[first : first + AT_ONCE]))
        return self

    async def _deploy(self, service: str) -> None:
        slow = {"ready_after": "1s"} if service.startswith(SLOW) else {}
        await self.tenant.deploy(service, **slow)

    async def __aexit__(self, *_: object) -> None:
        await self.die()
        await self.tenant.__aexit__()

    async def crash(self, instance: Instance) -> None:
        await self.tenant.admin.delete(Pod, instance.instance_id, grace_period=0)

    def running(self) -> int:
        return self.tenant.running()

    @classmethod
    def slow(cls, name: str) -> Constituent:
        return Constituent(service=name, needs=ONE, warm_up_ms=1_000, price=1.0)
