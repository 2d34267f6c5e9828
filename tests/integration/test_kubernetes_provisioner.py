"""What only pods and Deployments do."""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import replace
from typing import Any

import pytest
from kube import NAMESPACE, Kube, KubernetesHouse, deployment, node
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType
from provisioner_rigs import until, want
from services import ONE, catalog_of, command, constituent

from streams.provisioners.core.interface import StandardPathRefused
from streams.provisioners.kubernetes import deployment_scaler
from streams.provisioners.kubernetes.cluster import COST, LAST_APPLIED, KubernetesCluster
from streams.provisioners.kubernetes.survey import survey
from streams.records import Action, Instance, InstanceState
from streams.records.catalog import Resources

DEPLOYMENTS = "apps/v1/deployments"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SCALE = f"{DEPLOYMENT}/a-warm/scale"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def autoscaler(name: str) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "metadata": {"name": f"keda-hpa-{name}", "namespace": NAMESPACE},
        "spec": {"maxReplicas": 9, "scaleTargetRef": target},
    }


def containers(kube: Kube, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kube.get(DEPLOYMENTS, name)["spec"]["template"]["spec"][
        "containers"
    ]
    return found


async def test_a_deployment_with_an_autoscaler_is_left_alone_and_the_autoscaler_named() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.kube.add("autoscaling/v2/horizontalpodautoscalers", autoscaler("a-warm"))
        provisioner = await here.open()
        with pytest.raises(
            StandardPathRefused, match="scaled by HorizontalPodAutoscaler keda-hpa-a-warm"
        ):
            await provisioner.standard(want("a"))

        assert here.running() == 0


async def test_a_deployment_with_an_autoscaler_is_scaled_when_told_to() -> None:
    async with KubernetesHouse(catalog_of(constituent("a")), take_over=True) as here:
        here.kube.add("autoscaling/v2/horizontalpodautoscalers", autoscaler("a-warm"))
        provisioner = await here.open()
        await provisioner.standard(want("a"))

        scaled = here.kube.requests(SCALE)[-1]
        assert scaled.params["force"] == "true"


async def test_the_scale_is_applied_without_force_by_a_manager_of_its_own() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.standard(want("a"))

        scaled = here.kube.requests(SCALE)[-1]
        assert scaled.params["fieldManager"] == "foremesh"
        assert "force" not in scaled.params
        assert scaled.headers["Content-Type"] == "application/apply-patch+yaml"


async def test_replicas_that_only_the_creator_owns_by_default_are_taken() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        made = created("kubectl-client-side-apply")
        here.kube.add(DEPLOYMENTS, made)
        await here.open()
        await until(lambda: here.kube.requests(SCALE))

        assert here.kube.requests(SCALE)[-1].params["force"] == "true"


async def test_replicas_that_a_manifest_names_are_not_taken() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        made = created("kubectl-client-side-apply")
        declared = json.dumps({"spec": {"replicas": 1}})
        made["metadata"]["annotations"] = {LAST_APPLIED: declared}
        here.kube.add(DEPLOYMENTS, made)
        await here.open()
        await until(lambda: here.kube.requests(SCALE))

        assert "force" not in here.kube.requests(SCALE)[-1].params


def created(manager: str) -> dict[str, Any]:
    """A Deployment whose default of replicas Kubernetes counts to its creator."""
    made = deployment("a")
    fields: Any = {"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {}}}
    entry = {"manager": manager, "operation": "Update", "fieldsV1": fields}
    made["metadata"]["managedFields"] = [entry]
    made["spec"]["replicas"] = 1
    return made


async def test_replicas_that_another_manager_owns_are_not_fought_over() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.kube.refuse(SCALE, 409, 'conflict with "kubectl": .spec.replicas')
        provisioner = await here.open()
        with pytest.raises(StandardPathRefused, match=r"conflict with .kubectl.*--take-over"):
            await provisioner.standard(want("a"))


async def test_a_constituent_without_a_deployment_is_refused_and_the_label_named() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        del here.kube.api.objects[DEPLOYMENTS, NAMESPACE, "a-warm"]
        provisioner = await here.open()
        with pytest.raises(StandardPathRefused, match=r"labelled foremesh\.io/constituent=a"):
            await provisioner.standard(want("a"))


async def test_resources_are_requested_as_the_catalogue_says() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.standard(want("a"))

        (container,) = containers(here.kube, "a-warm")
        assert container["resources"]["requests"] == {"cpu": "100m", "memory": "32Mi"}
        assert (
            here.kube.get(DEPLOYMENTS, "a-warm")["metadata"]["annotations"]["foremesh.io/owner"]
            == "default"
        )


async def test_a_deployment_without_pods_has_its_requests_before_any_command() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        await here.open()
        await until(lambda: containers(here.kube, "a-warm")[0].get("resources"))

        requests = containers(here.kube, "a-warm")[0]["resources"]["requests"]
        assert requests == {"cpu": "100m", "memory": "32Mi"}
        assert here.kube.requests(SCALE) == []


async def test_pods_that_run_are_not_replaced_when_the_catalogue_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deployment_scaler, "_OBSERVE_S", 0.05)
    async with KubernetesHouse(catalog_of(constituent("a"), constituent("b"))) as here:
        provisioner = await here.open()
        await provisioner.standard(want("a"))
        more = (replace(constituent(name), needs=Resources(cpu=200)) for name in "ab")
        here.catalog = catalog_of(*more)
        await until(lambda: cpu_of(here, "b") == "200m")

        assert cpu_of(here, "a") == "100m"


@pytest.mark.parametrize("needs", [Resources(cpu=200), None])
async def test_pods_that_run_are_not_replaced_when_others_are_started_or_ended_beside_them(
    needs: Resources | None,
) -> None:
    async with KubernetesHouse(catalog_of(constituent("a"), constituent("b"))) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a", count=2))
        await here.warm(2)
        await until(lambda: here.now.lifecycle.scaler.deployments["a"].replicas == 2)
        template = f"{DEPLOYMENT}/a-warm"
        before = applied(here, template)
        changed = [replace(constituent("a"), needs=needs)] if needs else []
        here.catalog = catalog_of(*changed, constituent("b"))
        await asyncio.sleep(here.limits.grace_ms / 1000)
        await provisioner.carry_out(command("a", action=Action.RELEASE))
        await until(lambda: here.kube.get(DEPLOYMENTS, "a-warm")["spec"]["replicas"] == 1)

        assert len(applied(here, template)) > len(before)
        assert applied(here, template)[-1] == before[-1]


def applied(here: KubernetesHouse, path: str) -> list[Any]:
    """The pod templates that were applied to a Deployment, in order."""
    return [one.data.get("spec") for one in here.kube.requests(path) if one.method == "PATCH"]


def cpu_of(here: KubernetesHouse, service: str) -> str:
    (container,) = containers(here.kube, f"{service}-warm")
    return str(container.get("resources", {}).get("requests", {}).get("cpu"))


async def test_resources_that_others_request_are_left_as_they_are() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        theirs = deployment("a")
        said = {"requests": {"cpu": "2", "memory": "1Gi"}}
        theirs["spec"]["template"]["spec"]["containers"][0]["resources"] = said
        here.kube.add(DEPLOYMENTS, theirs)
        provisioner = await here.open()
        await provisioner.standard(want("a"))

        assert containers(here.kube, "a-warm")[0]["resources"] == said


async def test_capacity_is_no_more_than_the_nodes_that_take_pods_have() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"), room=100)) as here:
        closed = node("n2", cpu="4", memory="8Gi")
        closed["spec"]["unschedulable"] = True
        here.kube.add("v1/nodes", closed)
        provisioner = await here.open()
        capacity = provisioner.utilisation().capacity

        assert (capacity.cpu, capacity.memory, capacity.bandwidth) == (4_000, 3_200, 100)


async def test_use_is_what_the_metrics_server_measured_where_that_is_more() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        usage = [{"name": "main", "usage": {"cpu": "250m", "memory": "16Mi"}}]
        named = {"name": instance.instance_id, "namespace": NAMESPACE}
        here.kube.add("metrics.k8s.io/v1beta1/pods", {"metadata": named, "containers": usage})
        await here.now.lifecycle.scaler.observe()
        used = provisioner.utilisation().used

        assert (used.cpu, used.memory) == (250, ONE.memory)


async def test_without_nodes_and_metrics_the_catalogue_counts() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.kube.refuse("/api/v1/nodes", 403, "nodes is forbidden")
        here.kube.refuse(f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods", 404, "none")
        provisioner = await here.open()
        await provisioner.standard(want("a"))

        assert provisioner.utilisation().capacity == ONE.times(4)
        assert provisioner.utilisation().used == ONE


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


async def test_a_deployment_that_cannot_be_written_holds_up_no_other() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"), constituent("b"))) as here:
        here.kube.refuse(f"{DEPLOYMENT}/a-warm", 503, "not now")
        provisioner = await here.open()
        await provisioner.carry_out(command("a"))
        await until(lambda: here.kube.requests(f"{DEPLOYMENT}/a-warm"))
        began = time.monotonic()
        await provisioner.standard(want("b"))

        assert time.monotonic() - began < 0.8  # it is tried again after a second


async def test_an_error_in_scaling_is_one_of_the_provisioner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing = asyncio.Event()

    async def scale(*_: object) -> None:
        failing.set()
        raise RuntimeError("nobody foresaw this")

    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        provisioner.sweep()
        monkeypatch.setattr(KubernetesCluster, "scale", scale)
        await provisioner.carry_out(command("a"))
        await asyncio.wait_for(failing.wait(), 20)
        await asyncio.sleep(0.1)  # for its tasks to end

        with pytest.raises(ExceptionGroup) as failed:
            provisioner.sweep()
        assert failed.group_contains(RuntimeError, match="nobody foresaw this")


async def test_a_deployment_that_is_made_later_is_scaled() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        del here.kube.api.objects[DEPLOYMENTS, NAMESPACE, "a-warm"]
        provisioner = await here.open()
        made: Any = Deployment.from_dict(deployment("a"))
        await here.kube.client.create(made)
        await asyncio.sleep(0.2)

        assert (await provisioner.standard(want("a"))).state is InstanceState.WARM


async def test_a_watch_that_breaks_is_begun_again_and_nothing_is_missed() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        here.kube.refuse(PODS, 503, "not now", times=1)  # the watch

        assert (await provisioner.standard(want("a"))).state is InstanceState.WARM
        assert len(here.kube.requests(PODS)) > 3


async def test_an_api_server_that_refuses_for_a_while_is_asked_again() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.kube.refuse(f"{DEPLOYMENT}/a-warm", 503, "not now", times=1)
        provisioner = await here.open()

        assert (await provisioner.standard(want("a"))).state is InstanceState.WARM


async def test_a_survey_says_what_keeps_each_constituent_from_being_scaled() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"), constituent("b"))) as here:
        here.kube.add("autoscaling/v2/horizontalpodautoscalers", autoscaler("b-warm"))
        await here.open()
        said = await survey(KubernetesCluster(here.kube.client, "default"), here.catalog)

        assert said[0] == "a: Deployment a-warm, 0 pods, ours to scale"
        assert said[1].startswith("b: Deployment b-warm is scaled by HorizontalPodAutoscaler")
