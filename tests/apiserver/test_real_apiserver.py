"""What an emulator does not refuse: conflicts of field managers and stale versions.

The server has no Deployments, so a custom resource of the same shape stands for one. Of that it
refuses a scale that another owns, but takes none that changes it: it knows no conversion to Scale.
That a Deployment is scaled is tested with the emulator alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from apiserver import BUILD, ApiServer, definition, programs, started
from lightkube import AsyncClient
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType
from provisioner_rigs import until

from streams.provisioners.kubernetes.cluster import (
    ApiServerError,
    KubernetesCluster,
    OwnedByAnother,
    ScaleJournal,
    WarmDeployment,
    code_of,
)
from streams.provisioners.kubernetes.leader_election import LeaderElection, LeaseTimings
from streams.records.catalog import Constituent, Resources

pytestmark = pytest.mark.timeout(2_400)  # the first time the server is built

KEPT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
REPLICAS = {"type": "integer", "minimum": 0, "maximum": 100}
# Told apart by name as in a Deployment, so that managers may own different ones.
CONTAINERS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {**KEPT, "properties": {"name": {"type": "string"}}, "required": ["name"]},
}


def within(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema in which this one is at a path."""
    for name in reversed(path.split(".")):
        schema = {**KEPT, "properties": {name: schema}}
    return schema


TEMPLATE = within("spec.containers", CONTAINERS)
SCALED = within("spec", {**KEPT, "properties": {"replicas": REPLICAS, "template": TEMPLATE}})
SCALE = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
WarmSets: Any = create_namespaced_resource("foremesh.io", "v1", "WarmSet", "warmsets")
WARM = WarmDeployment("a-warm", "a", 0, "main", {}, "", ScaleJournal())
NEEDS = Constituent(
    service="a", needs=Resources(cpu=250, memory=64, bandwidth=0), warm_up_ms=1_000, price=1.0
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with started(programs(BUILD), tmp_path_factory.mktemp("apiserver")) as running:
        yield running


@pytest.fixture(scope="session")
async def kinds(server: ApiServer) -> None:
    """Something with a scale, and leases."""
    client = server.connect()
    for made in (
        definition("foremesh.io", "WarmSet", SCALED, scale=SCALE, status={}),
        definition("coordination.k8s.io", "Lease", {**KEPT, "properties": {"spec": KEPT}}),
    ):
        kind: Any = CustomResourceDefinition.from_dict(made)
        await client.create(kind)
        name = made["metadata"]["name"]
        await client.wait(CustomResourceDefinition, name, for_conditions=["Established"])
    await client.close()


@pytest.fixture
async def client(server: ApiServer, kinds: None) -> AsyncIterator[AsyncClient]:
    del kinds
    connected = server.connect()
    template = {"spec": {"containers": [{"name": "main"}]}}
    body = {"metadata": {"name": WARM.name}, "spec": {"template": template}}
    await connected.create(WarmSets(body))
    yield connected
    await connected.delete(WarmSets, WARM.name)
    await connected.close()


def cluster(client: AsyncClient) -> KubernetesCluster:
    return KubernetesCluster(client, "default", kind=WarmSets)


async def applied(client: AsyncClient, manager: str, spec: dict[str, Any]) -> None:
    """Set something in the name of a manager."""
    body = {
        "apiVersion": "foremesh.io/v1",
        "kind": "WarmSet",
        "metadata": {"name": WARM.name},
        "spec": spec,
    }
    await client.patch(
        WarmSets, WARM.name, body, patch_type=PatchType.APPLY, field_manager=manager, force=True
    )


async def replicas(client: AsyncClient) -> int | None:
    found = await client.get(WarmSets, WARM.name)
    count: int | None = found["spec"].get("replicas")
    return count


async def test_a_scale_that_another_has_set_is_theirs(client: AsyncClient) -> None:
    await applied(client, "kubectl", {"replicas": 5})

    with pytest.raises(
        OwnedByAnother, match=r"WarmSet a-warm is held by another.*conflict with .kubectl"
    ):
        await cluster(client).scale(WARM, 2)
    assert await replicas(client) == 5


async def test_the_same_value_as_another_has_set_is_no_conflict(client: AsyncClient) -> None:
    await applied(client, "kubectl", {"replicas": 4})

    await cluster(client).scale(WARM, 4)

    assert await replicas(client) == 4


async def test_what_is_ours_is_written_beside_what_is_not(client: AsyncClient) -> None:
    await applied(client, "kubectl", {"replicas": 5})

    await cluster(client).write(WARM, ScaleJournal(2, ("c1",)), NEEDS)

    found = await client.get(WarmSets, WARM.name)
    assert ScaleJournal.of(found.metadata.annotations["foremesh.io/journal"]) == ScaleJournal(
        2, ("c1",)
    )
    assert found["spec"]["replicas"] == 5


async def test_requests_that_another_has_set_are_theirs(client: AsyncClient) -> None:
    container = {"name": WARM.container, "resources": {"requests": {"cpu": "2"}}}
    await applied(client, "helm", {"template": {"spec": {"containers": [container]}}})

    with pytest.raises(OwnedByAnother, match=r"conflict with .helm.*requests"):
        await cluster(client).write(WARM, ScaleJournal(1), NEEDS)


async def test_writing_the_same_again_changes_no_version(client: AsyncClient) -> None:
    versions = []
    for _ in range(2):
        await cluster(client).write(WARM, ScaleJournal(2, ("c1",)), None)
        versions.append((await client.get(WarmSets, WARM.name)).metadata.resourceVersion)

    assert versions[0] == versions[1]


async def test_a_lease_written_on_a_stale_version_is_refused(client: AsyncClient) -> None:
    await client.create(Lease(metadata=ObjectMeta(name="stale"), spec=LeaseSpec()))
    read = await client.get(Lease, "stale")
    note = {"metadata": {"annotations": {"changed": "1"}}}
    await client.patch(Lease, "stale", note, patch_type=PatchType.MERGE)
    version = {"metadata": {"resourceVersion": read.metadata and read.metadata.resourceVersion}}

    with pytest.raises(ApiServerError) as refused:
        await client.patch(Lease, "stale", version, patch_type=PatchType.MERGE)
    assert code_of(refused.value) == 409


async def test_of_many_provisioners_exactly_one_leads_and_another_follows(
    server: ApiServer, client: AsyncClient
) -> None:
    del client
    leading: list[int] = []
    most = 0
    stops = [asyncio.Event() for _ in range(8)]

    async def run(number: int) -> None:
        own = server.connect()
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
