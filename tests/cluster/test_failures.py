"""What goes wrong on a cluster is told in the words of Kubernetes, and hurts only what it must."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from binaries import programs
from house import ClusterHouse
from kwok import fake_node, kwok
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod, ResourceQuota
from tenant import quota

from foremesh.testing.provisioners import catalog_of, order, until, want
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, InstanceState

pytest_plugins = ["clusters"]
pytestmark = pytest.mark.usefixtures("cluster")
NODE_S = 40.0  # from the end of a node to that of its pods, at most


class ImpatientHouse(ClusterHouse):
    limits = replace(ClusterHouse.limits, start_ms=1_500)


async def gone(here: ClusterHouse, timeout_s: float = 10.0) -> str:
    """Why the first instance that went did."""
    await until(lambda: here.told.last(InstanceState.GONE), timeout_s)
    return str(here.told.last(InstanceState.GONE)[0].reason)


def autoscaler(name: str) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    usage = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    metrics = [{"type": "Resource", "resource": usage}]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "theirs"},
        "spec": {"minReplicas": 1, "maxReplicas": 9, "scaleTargetRef": target, "metrics": metrics},
    }


async def test_a_quota_that_is_used_up_is_named_and_what_fits_is_warm() -> None:
    async with ClusterHouse(catalog_of(ClusterHouse.quick("a"))) as here:
        await here.tenant.create(quota(1))
        provisioner = await here.open()
        await provisioner.carry_out(order("a", count=2))

        reason = await gone(here)
        assert reason.startswith("crashed: Kubernetes made no pod: ")
        assert "exceeded quota: small" in reason
        await here.warm(1)


async def test_a_start_succeeds_once_the_quota_allows_it() -> None:
    async with ClusterHouse(catalog_of(ClusterHouse.quick("a"))) as here:
        await here.tenant.create(quota(0))
        provisioner = await here.open()
        await provisioner.carry_out(order("a", name="c1"))
        await gone(here)
        await here.tenant.admin.delete(ResourceQuota, "small")
        await asyncio.sleep(1.0)  # its back-off
        await provisioner.carry_out(order("a", name="c2"))

        await here.warm(1)


async def test_a_deployment_with_an_autoscaler_is_left_alone_and_the_autoscaler_named() -> None:
    async with ClusterHouse(catalog_of(ClusterHouse.quick("a"))) as here:
        await here.tenant.create(autoscaler("a-warm"))
        provisioner = await here.open()

        with pytest.raises(StandardPathRefused, match="scaled by HorizontalPodAutoscaler theirs"):
            await provisioner.standard(want("a"))
        assert here.running() == 0


async def test_a_deployment_with_an_autoscaler_is_scaled_when_told_to() -> None:
    catalog = catalog_of(ClusterHouse.quick("a"))
    async with ClusterHouse(catalog, take_over=True) as here:
        await here.tenant.create(autoscaler("a-warm"))
        provisioner = await here.open()

        assert (await provisioner.standard(want("a"))).state is InstanceState.WARM


async def test_an_evicted_pod_is_told_with_the_word_of_who_evicted_it() -> None:
    async with ClusterHouse(catalog_of(ClusterHouse.quick("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        eviction = Pod.Eviction(metadata=ObjectMeta(name=instance.instance_id))
        await here.tenant.admin.create(eviction, instance.instance_id)

        assert "evict" in (await gone(here)).lower()


async def test_a_killed_node_takes_its_instances_along_and_is_told() -> None:
    async with ClusterHouse(catalog_of(ClusterHouse.quick("a"))) as here:
        admin, name = here.tenant.admin, f"doomed-{here.tenant.namespace}"
        with kwok(programs(), here.cluster, "doomed"):
            await admin.create(fake_node(name, "doomed", only=name))
            spec = {"template": {"spec": {"nodeSelector": {"only": name}}}}
            await here.tenant.change("a", {"spec": spec})
            provisioner = await here.open()
            await provisioner.standard(want("a"))

        assert "taint manager" in (await gone(here, NODE_S)).lower()
        assert here.serving() == []
        await admin.delete(Node, name)


async def test_of_a_drained_node_the_instances_go_and_the_next_is_warm_on_another() -> None:
    async with ClusterHouse(catalog_of(ClusterHouse.quick("a"))) as here:
        provisioner = await here.open()
        first = await provisioner.standard(want("a"))
        node = node_of(here, first)
        await kubectl(here, "drain", node, "--force", "--timeout=60s")

        assert "evict" in (await gone(here)).lower()
        second = await provisioner.standard(want("a"))
        assert node_of(here, second) != node
        await kubectl(here, "uncordon", node)


def node_of(here: ClusterHouse, instance: Instance) -> str:
    spec = here.tenant.pods[instance.instance_id].spec
    return str(spec and spec.nodeName)


async def kubectl(here: ClusterHouse, *words: str) -> None:
    config = here.cluster.kubeconfig()
    process = await asyncio.create_subprocess_exec("kubectl", f"--kubeconfig={config}", *words)
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("becomes", "said"),
    [
        ("without-image", "container main waits: Back-off pulling image"),
        ("unready", "containers with unready status: [main]"),
    ],
)
async def test_a_pod_that_is_not_ready_in_time_says_what_it_waits_for(
    becomes: str, said: str
) -> None:
    async with ImpatientHouse(catalog_of(ClusterHouse.quick("a"))) as here:
        await here.tenant.annotate("a", becomes=becomes)
        provisioner = await here.open()
        await provisioner.carry_out(order("a"))

        assert (await gone(here)).startswith(f"crashed: its pod was not ready in time: {said}")
        await until(lambda: here.running() == 0)


async def test_a_pod_that_no_node_takes_says_why() -> None:
    async with ImpatientHouse(catalog_of(ClusterHouse.quick("a"))) as here:
        spec = {"template": {"spec": {"nodeSelector": {"no": "such"}}}}
        await here.tenant.change("a", {"spec": spec})
        provisioner = await here.open()
        await provisioner.carry_out(order("a"))

        assert "not ready in time: no node takes it: 0/" in await gone(here)


async def test_starts_that_hang_hold_up_no_others() -> None:
    catalog = catalog_of(*map(ClusterHouse.quick, "ab"), room=40)
    async with ClusterHouse(catalog) as here:
        await here.tenant.annotate("a", becomes="unready")
        provisioner = await here.open()
        await provisioner.carry_out(order("a", count=4))

        assert (await provisioner.standard(want("b"))).service == "b"
