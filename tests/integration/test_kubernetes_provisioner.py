"""What only pods and Deployments do."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from kube import NAMESPACE, Kube, KubernetesHouse, deployment, node
from lightkube.resources.apps_v1 import Deployment
from provisioner_rigs import until, want
from services import ONE, catalog_of, command, constituent

from streams.provisioners.core.interface import StandardPathRefused
from streams.provisioners.kubernetes import deployment_scaler
from streams.provisioners.kubernetes.cluster import LAST_APPLIED, KubernetesCluster
from streams.provisioners.kubernetes.survey import survey
from streams.records import Action, InstanceState
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


@pytest.mark.parametrize("cpu", ["250m", "250000000n", "250000u"])
async def test_use_is_what_the_metrics_server_measured_where_that_is_more(cpu: str) -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        usage = [{"name": "main", "usage": {"cpu": cpu, "memory": "16Mi"}}]
        named = {"name": instance.instance_id, "namespace": NAMESPACE}
        here.kube.add("metrics.k8s.io/v1beta1/pods", {"metadata": named, "containers": usage})
        await here.now.lifecycle.scaler.observe()
        used = provisioner.utilisation().used

        assert (used.cpu, used.memory) == (250, ONE.memory)


@pytest.mark.parametrize("containers", [None, [{}], [{"usage": {"cpu": "much"}}]])
async def test_use_that_cannot_be_read_is_as_the_catalogue_says(containers: Any) -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        named = {"name": instance.instance_id, "namespace": NAMESPACE}
        here.kube.add("metrics.k8s.io/v1beta1/pods", {"metadata": named, "containers": containers})
        await here.now.lifecycle.scaler.observe()

        assert provisioner.utilisation().used == ONE


async def test_without_nodes_and_metrics_the_catalogue_counts() -> None:
    async with KubernetesHouse(catalog_of(constituent("a"))) as here:
        here.kube.refuse("/api/v1/nodes", 403, "nodes is forbidden")
        here.kube.refuse(f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods", 404, "none")
        provisioner = await here.open()
        await provisioner.standard(want("a"))

        assert provisioner.utilisation().capacity == ONE.times(4)
        assert provisioner.utilisation().used == ONE


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
