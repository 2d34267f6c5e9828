"""A namespace of a real cluster, with a Deployment for each constituent, for the provisioners' tests."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Self

from control_plane import ControlPlane
from lightkube.resources.core_v1 import Pod
from tenant import Tenant

from foremesh.testing.provisioners import ONE, ProvisionerHouse
from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.kubernetes.cluster import KubernetesCluster
from streams.provisioners.kubernetes.provisioner import KubernetesProvisioner
from streams.records import Instance
from streams.records.catalog import Catalog, Constituent

__all__ = ["ClusterHouse"]

SLOW, AT_ONCE = "slow", 32


class ClusterHouse(ProvisionerHouse):
    """Pods on kwok's nodes, started by the manifests' own service account."""

    cluster: ClassVar[ControlPlane]  # set by the fixture of that name
    now: KubernetesProvisioner
    limits = ProvisionerLimits(
        grace_ms=20, claim_ms=1_000, stop_ms=2_000, start_ms=10_000, starts=8
    )

    def __init__(self, catalog: Catalog, *, take_over: bool = False) -> None:
        super().__init__(catalog)
        self.tenant = Tenant(self.cluster)
        self.take_over = take_over

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

    def make(self) -> KubernetesProvisioner:
        return KubernetesProvisioner(
            "default",
            lambda: self.catalog,
            self.told.records.append,
            self.limits,
            cluster=KubernetesCluster(self.tenant.connect(), "default", take_over=self.take_over),
        )

    async def crash(self, instance: Instance) -> None:
        await self.tenant.admin.delete(Pod, instance.instance_id, grace_period=0)

    async def die(self) -> None:
        await self.now.close()

    def running(self) -> int:
        return self.tenant.running()

    @classmethod
    def quick(cls, name: str, *, concurrency: int = 1) -> Constituent:
        return Constituent(
            service=name, needs=ONE, warm_up_ms=100, price=1.0, concurrency=concurrency
        )

    @classmethod
    def slow(cls, name: str) -> Constituent:
        return Constituent(service=name, needs=ONE, warm_up_ms=1_000, price=1.0)
