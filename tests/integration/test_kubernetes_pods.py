"""What becomes of pods: taken over, not ready, ended by others."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from kube import NAMESPACE, KubernetesHouse
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType
from provisioner_rigs import until, want
from services import catalog_of, command, constituent

from streams.provisioners.kubernetes.cluster import COST
from streams.records import Action, Instance, InstanceState

DEPLOYMENTS = "apps/v1/deployments"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SCALE = f"{DEPLOYMENT}/a-warm/scale"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


async def test_pods_outlive_their_provisioner_and_its_successor_takes_them_over() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a", count=2))
        before = {one.instance_id: one.warm_since_ms for one in await here.warm(2)}
        await here.die()
        again = await here.open()

        assert {one.instance_id: one.warm_since_ms for one in again.instances()} == before
        assert not here.told.last(InstanceState.GONE)


async def test_a_successor_writes_nothing_where_nothing_has_changed() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.standard(want("a"))
        await here.die()
        before = len(here.kube.requests(SCALE))
        await here.open()
        await asyncio.sleep(0.3)

        assert len(here.kube.requests(SCALE)) == before


async def test_a_pod_that_drains_when_its_provisioner_ends_is_ended_by_the_successor() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.limits = replace(here.limits, grace_ms=300)
        provisioner = await here.open()
        await provisioner.standard(want("a"))
        await asyncio.sleep(0.35)
        await provisioner.carry_out(command("a", action=Action.RELEASE))
        assert here.told.last(InstanceState.DRAINING)
        await here.die()
        await here.open()
        await until(lambda: here.told.last(InstanceState.GONE))

        assert here.running() == 0


async def test_a_request_does_not_wait_for_a_pod_that_was_warm_and_is_not_ready() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a"))
        (ill,) = await here.warm(1)
        status = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        await here.kube.client.patch(Pod, ill.instance_id, status, patch_type=PatchType.MERGE)
        await until(lambda: here.told.last(InstanceState.STARTING))
        other = await provisioner.standard(want("a"))

        assert other.instance_id != ill.instance_id
        assert other.state is InstanceState.WARM


async def test_a_pod_that_went_while_nobody_looked_is_buried() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        await here.die()
        await here.crash(instance)
        await here.open()

        (gone,) = here.told.last(InstanceState.GONE)
        assert gone.reason == "its provisioner ended before it"


async def test_where_another_pod_is_ended_than_meant_the_one_meant_serves_on() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a", count=2))
        first, second = await here.warm(2)
        cheaper = {"metadata": {"annotations": {COST: "-9999"}}}
        await here.kube.client.patch(Pod, second.instance_id, cheaper, patch_type=PatchType.MERGE)
        await asyncio.sleep(here.limits.grace_ms / 1000)
        await provisioner.carry_out(command("a", action=Action.RELEASE))
        await until(lambda: here.told.last(InstanceState.GONE))
        await asyncio.sleep(0.1)

        assert [one.instance_id for one in provisioner.instances()] == [first.instance_id]
        assert here.told.states(first.instance_id)[-2:] == ["draining", "warm"]
        assert here.running() == 1


async def test_a_pod_that_ends_while_it_drains_is_not_kept_for_another_that_ends() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.limits = replace(here.limits, grace_ms=200)
        provisioner = await here.open()
        await provisioner.carry_out(command("a", count=2))
        first, second = await here.warm(2)
        await asyncio.sleep(0.25)
        await provisioner.carry_out(command("a", action=Action.RELEASE))
        (drains,) = here.told.last(InstanceState.DRAINING)
        here.kube.pause()  # or another pod takes its place, for which the second may have to go
        await here.crash(drains)
        await asyncio.sleep(0.5)  # it was to be ended meanwhile
        await here.crash(second if drains.instance_id == first.instance_id else first)
        await until(lambda: len(here.told.last(InstanceState.GONE)) == 2)
        await asyncio.sleep(0.1)

        assert here.told.states(drains.instance_id)[-1] is InstanceState.GONE
        assert not provisioner.instances()


async def test_a_pod_that_was_never_ready_is_not_kept_for_another_that_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.limits = replace(here.limits, start_ms=1_000)
        provisioner = await here.open()
        served = await provisioner.standard(want("a"))
        monkeypatch.setattr("kube.QUICK_S", math.inf)
        await provisioner.carry_out(command("a"))
        await until(lambda: here.told.last(InstanceState.STARTING))
        (late,) = here.told.last(InstanceState.STARTING)
        here.kube.pause()
        await until(lambda: here.kube.get(DEPLOYMENTS, "a-warm")["spec"]["replicas"] == 1)
        await here.crash(served)
        await until(lambda: here.told.last(InstanceState.GONE))
        await until(lambda: here.kube.get(DEPLOYMENTS, "a-warm")["spec"]["replicas"] == 0)

        assert here.told.states(late.instance_id) == ["starting"]


async def test_a_pod_that_has_gone_by_itself_when_it_is_to_be_ended_is_no_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        pod = f"{PODS}/{instance.instance_id}"
        here.kube.refuse(pod, 404, f'pods "{instance.instance_id}" not found', times=1)
        await asyncio.sleep(here.limits.grace_ms / 1000)
        await provisioner.carry_out(command("a", action=Action.RELEASE))
        await until(lambda: here.told.last(InstanceState.GONE))

        assert here.kube.requests(pod)
        assert "unavailable" not in caplog.text


async def test_a_pod_that_is_kept_says_since_when_it_is_warm() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.limits = replace(here.limits, start_ms=1_000)
        provisioner = await here.open()
        await provisioner.carry_out(command("a", count=2))
        ill, other = await here.warm(2)
        here.kube.pause()
        await say_ready(here, ill, "False")
        await until(lambda: here.kube.get(DEPLOYMENTS, "a-warm")["spec"]["replicas"] == 1)
        await say_ready(here, ill, "True")
        await here.crash(other)
        await until(lambda: here.told.last(InstanceState.GONE))
        (kept,) = here.told.last(InstanceState.WARM)

        assert kept.instance_id == ill.instance_id
        assert kept.warm_since_ms == kept.changed_ms


async def test_a_pod_that_is_not_ready_is_not_warm_until_it_is_again() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        for ready, state in (("False", InstanceState.STARTING), ("True", InstanceState.WARM)):
            status = {"status": {"conditions": [{"type": "Ready", "status": ready}]}}
            await here.kube.client.patch(
                Pod, instance.instance_id, status, patch_type=PatchType.MERGE
            )
            await until(lambda state=state: here.told.last(state))  # type: ignore[misc]

        assert here.told.states(instance.instance_id) == ["starting", "warm", "starting", "warm"]


async def test_a_pod_that_a_successor_finds_starting_is_ended_when_it_is_not_ready_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kube.QUICK_S", math.inf)
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a"))
        await until(lambda: here.told.last(InstanceState.STARTING))
        await here.die()
        here.limits = replace(here.limits, start_ms=200)
        again = await here.open()
        await until(lambda: here.told.last(InstanceState.GONE))

        (gone,) = here.told.last(InstanceState.GONE)
        assert gone.reason.startswith("crashed: its pod was not ready in time")
        assert not again.instances()
        await until(lambda: here.running() == 0)


async def test_a_pod_that_a_predecessor_requested_and_that_never_appears_is_waited_for_no_longer() -> (
    None
):
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.kube.pause()
        provisioner = await here.open()
        await provisioner.carry_out(command("a"))
        await until(lambda: here.kube.get(DEPLOYMENTS, "a-warm")["spec"]["replicas"] == 1)
        await here.die()
        here.limits = replace(here.limits, start_ms=200)
        again = await here.open()
        assert again.instances()
        await until(lambda: here.kube.get(DEPLOYMENTS, "a-warm")["spec"]["replicas"] == 0)

        assert not again.instances()


async def test_a_pod_that_stays_not_ready_is_ended_as_a_start_is() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.limits = replace(here.limits, start_ms=1_000)
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        await say_ready(here, instance, "False", "its probe fails")
        await until(lambda: here.told.last(InstanceState.GONE))

        (gone,) = here.told.last(InstanceState.GONE)
        assert gone.reason == "not ready for 1 s: its probe fails"
        await until(lambda: here.running() == 0)


async def test_a_pod_that_is_ready_again_in_time_is_not_ended() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.limits = replace(here.limits, start_ms=1_000)
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        await say_ready(here, instance, "False")
        await until(lambda: here.told.last(InstanceState.STARTING))
        await say_ready(here, instance, "True")
        await until(lambda: here.told.last(InstanceState.WARM))
        await asyncio.sleep(1.2)

        assert [one.state for one in provisioner.instances()] == ["warm"]


async def say_ready(here: KubernetesHouse, pod: Instance, ready: str, why: str = "") -> None:
    """Have a kubelet say whether a pod is ready."""
    said = {"type": "Ready", "status": ready, "message": why}
    status = {"status": {"conditions": [said]}}
    await here.kube.client.patch(Pod, pod.instance_id, status, patch_type=PatchType.MERGE)


async def test_what_kubernetes_says_of_a_pod_that_is_not_ready_is_told() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        said = {
            "type": "Ready",
            "status": "False",
            "message": "containers with unready status: [a]",
        }
        await here.kube.client.patch(
            Pod,
            instance.instance_id,
            {"status": {"conditions": [said]}},
            patch_type=PatchType.MERGE,
        )
        await until(lambda: here.told.last(InstanceState.STARTING))

        (unready,) = here.told.last(InstanceState.STARTING)
        assert unready.reason == "not ready: containers with unready status: [a]"


async def test_a_start_whose_pod_kubernetes_cannot_make_fails_at_once_and_says_why() -> None:
    async with KubernetesHouse(catalog_of(constituent("slow"))) as here:
        provisioner = await here.open()
        failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
        here.kube.pause()
        await provisioner.carry_out(command("slow"))
        await until(lambda: here.kube.get(DEPLOYMENTS, "slow-warm")["spec"]["replicas"] == 1)
        status = {"status": {"conditions": [failure]}}
        await here.kube.client.patch(Deployment, "slow-warm", status, patch_type=PatchType.MERGE)
        await until(lambda: here.told.last(InstanceState.GONE))

        (gone,) = here.told.last(InstanceState.GONE)
        assert gone.reason == "crashed: Kubernetes made no pod: exceeded quota: small"
