"""What an emulator does not refuse: conflicts of field managers and stale versions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from control_plane import ControlPlane
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType
from tenant import Tenant, deployment

from foremesh.testing.provisioners import ONE, until
from streams.provisioners.kubernetes.cluster import (
    MANAGER,
    ApiServerError,
    KubernetesCluster,
    OwnedByAnother,
    WarmDeployment,
    code_of,
)
from streams.provisioners.kubernetes.leader_election import LeaderElection, LeaseTimings
from streams.provisioners.kubernetes.scale_journal import ScaleJournal
from streams.records.catalog import Constituent, Resources

pytest_plugins = ["clusters"]

WARM = WarmDeployment("a-warm", "a", 0, "main", {}, Resources(), ScaleJournal())
NEEDS = Constituent(service="a", needs=ONE, warm_up_ms=1_000, price=1.0)


@pytest.fixture
async def tenant(cluster: ControlPlane) -> AsyncIterator[Tenant]:
    """A namespace with one Deployment that says nothing of its scale."""
    async with Tenant(cluster) as made:
        await made.deploy("a")
        yield made


@pytest.fixture
async def ours(tenant: Tenant) -> AsyncIterator[KubernetesCluster]:
    """What the provisioner calls, with its rights."""
    made = KubernetesCluster(tenant.connect(), "default")
    yield made
    await made.close()


async def applied(tenant: Tenant, manager: str, spec: dict[str, Any]) -> None:
    """Set something in the name of a manager."""
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": WARM.name},
        "spec": spec,
    }
    await tenant.admin.patch(
        Deployment, WARM.name, body, patch_type=PatchType.APPLY, field_manager=manager, force=True
    )


async def kubectl(tenant: Tenant, manifest: dict[str, Any], *how: str) -> None:
    """Make something as a platform team does."""
    config = tenant.cluster.kubeconfig()
    argv = ["kubectl", f"--kubeconfig={config}", "-n", tenant.namespace, *how, "-f", "-"]
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE)
    await process.communicate(json.dumps(manifest).encode())
    assert process.returncode == 0


async def listed(ours: KubernetesCluster) -> list[WarmDeployment]:
    found, _ = await ours.deployments.listed()
    return [WarmDeployment.of(one) for one in found]


async def read(tenant: Tenant) -> Any:
    return await tenant.admin.get(Deployment, WARM.name)


async def test_a_deployment_is_scaled(tenant: Tenant, ours: KubernetesCluster) -> None:
    await ours.scale(WARM, 2)

    await until(lambda: tenant.running() == 2)


@pytest.mark.parametrize("how", [("create",), ("apply",), ("apply", "--server-side")])
async def test_a_deployment_without_replicas_is_scaled_however_it_was_made(
    tenant: Tenant, ours: KubernetesCluster, how: tuple[str, ...]
) -> None:
    await kubectl(tenant, deployment("b", {}), *how)
    (warm,) = [one for one in await listed(ours) if one.service == "b"]
    await ours.scale(warm, 3)

    await until(lambda: tenant.running("b") == 3)


@pytest.mark.parametrize("how", [("create",), ("apply",), ("apply", "--server-side")])
async def test_replicas_of_a_manifest_are_its_authors_however_it_was_applied(
    tenant: Tenant, ours: KubernetesCluster, how: tuple[str, ...]
) -> None:
    made = deployment("b", {})
    made["spec"]["replicas"] = 2
    await kubectl(tenant, made, *how)
    (warm,) = [one for one in await listed(ours) if one.service == "b"]

    with pytest.raises(OwnedByAnother, match=r"conflict with .kubectl"):
        await ours.scale(warm, 3)


async def test_a_scale_that_another_has_set_is_theirs(
    tenant: Tenant, ours: KubernetesCluster
) -> None:
    await applied(tenant, "kubectl", {"replicas": 5})

    with pytest.raises(
        OwnedByAnother, match=r"Deployment a-warm is held by another.*conflict with .kubectl"
    ):
        await ours.scale(WARM, 2)
    assert (await read(tenant)).spec.replicas == 5


async def test_a_scale_that_another_has_set_is_taken_over_when_told_to(tenant: Tenant) -> None:
    await applied(tenant, "kubectl", {"replicas": 5})
    ours = KubernetesCluster(tenant.connect(), "default", take_over=True)
    await ours.scale(WARM, 2)
    await ours.close()

    assert (await read(tenant)).spec.replicas == 2


async def test_the_same_value_as_another_has_set_is_no_conflict(
    tenant: Tenant, ours: KubernetesCluster
) -> None:
    await applied(tenant, "kubectl", {"replicas": 4})

    await ours.scale(WARM, 4)

    assert (await read(tenant)).spec.replicas == 4


async def test_what_is_ours_is_written_beside_what_is_not(
    tenant: Tenant, ours: KubernetesCluster
) -> None:
    await applied(tenant, "kubectl", {"replicas": 5})

    await ours.write(WARM, ScaleJournal(2, ("c1",)), NEEDS)

    found = await read(tenant)
    journal = ScaleJournal.of(found.metadata.annotations["foremesh.io/journal"])
    assert journal == ScaleJournal(2, ("c1",))
    assert found.spec.replicas == 5
    requests = found.spec.template.spec.containers[0].resources.requests
    assert requests == {"cpu": "100m", "memory": "32Mi"}


async def test_requests_that_another_has_set_are_theirs(
    tenant: Tenant, ours: KubernetesCluster
) -> None:
    container = {"name": WARM.container, "resources": {"requests": {"cpu": "2"}}}
    await applied(tenant, "helm", {"template": {"spec": {"containers": [container]}}})

    with pytest.raises(OwnedByAnother, match=r"conflict with .helm.*requests"):
        await ours.write(WARM, ScaleJournal(1), NEEDS)


async def test_writing_the_same_again_changes_nothing(
    tenant: Tenant, ours: KubernetesCluster
) -> None:
    written = []
    for _ in range(2):
        await ours.write(WARM, ScaleJournal(2, ("c1",)), None)
        managed = (await read(tenant)).metadata.managedFields
        written.append([one for one in managed if one.manager == MANAGER])

    assert written[0] == written[1]  # with their times


async def test_a_lease_written_on_a_stale_version_is_refused(tenant: Tenant) -> None:
    client = tenant.admin
    await client.create(Lease(metadata=ObjectMeta(name="stale"), spec=LeaseSpec()))
    read = await client.get(Lease, "stale")
    note = {"metadata": {"annotations": {"changed": "1"}}}
    await client.patch(Lease, "stale", note, patch_type=PatchType.MERGE)
    version = {"metadata": {"resourceVersion": read.metadata and read.metadata.resourceVersion}}

    with pytest.raises(ApiServerError) as refused:
        await client.patch(Lease, "stale", version, patch_type=PatchType.MERGE)
    assert code_of(refused.value) == 409


async def test_of_many_provisioners_exactly_one_leads_and_another_follows(
    tenant: Tenant,
) -> None:
    leading: list[int] = []
    most = 0
    stops = [asyncio.Event() for _ in range(8)]

    async def run(number: int) -> None:
        own = tenant.connect()
        times = LeaseTimings(lease_s=2.0, renew_s=1.5, retry_s=0.02)
        lease = LeaderElection(own, "race", f"provisioner-{number}", times)

        async def lead(over: asyncio.Event) -> None:
            nonlocal most
            leading.append(number)
            most = max(most, len(leading))
            await over.wait()
            leading.remove(number)

        await lease.lead(lead, stops[number])
        await own.close()

    tasks = [asyncio.create_task(run(number)) for number in range(len(stops))]
    led = []
    for _ in stops:
        await until(lambda: leading, 20)
        led.append(leading[0])
        stops[led[-1]].set()
        await tasks[led[-1]]

    assert sorted(led) == list(range(len(stops)))
    assert most == 1
