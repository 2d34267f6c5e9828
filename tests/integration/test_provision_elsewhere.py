"""The commands that provision elsewhere, whole: with a real Kafka before them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import grpc
from harness import RunForemesh
from kube import NAMESPACE, Kube, deployment
from services import catalog_of, command, constituent, read, send

from streams.provisioners.keda import externalscaler_pb2
from streams.records import Instance, InstanceState, Utilisation
from streams.runtime.ports import free_port
from streams.settings import Settings


def kubeconfig(kube: Kube, path: Path) -> str:
    """A file that names the cluster, as kubectl has one."""
    found = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": kube.address}}],
        "users": [{"name": "u", "user": {"token": "any"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(found))
    return str(path)


def warm(settings: Settings) -> list[Instance]:
    last = {x.instance_id: x for x in read(settings, "instances") if isinstance(x, Instance)}
    return [one for one in last.values() if one.state is InstanceState.WARM]


def used_cpu(settings: Settings) -> list[float]:
    told = read(settings, "utilisation")
    return [one.used.cpu for one in told if isinstance(one, Utilisation)]


async def so(check: Callable[[], object]) -> None:
    """Wait for what blocks to see."""
    async with asyncio.timeout(40):
        while not await asyncio.to_thread(check):  # noqa: ASYNC110 - Kafka knows of no event
            await asyncio.sleep(0.05)


async def test_commands_on_kafka_become_pods_and_pods_instances(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    async with Kube() as kube:
        kube.add("apps/v1/deployments", deployment("a"))
        config = kubeconfig(kube, tmp_path / "kubeconfig")
        running = run_foremesh(
            *("provision", "--on", "kubernetes", "--namespace", NAMESPACE),
            *("--listen", f"127.0.0.1:{free_port()}"),
            KUBECONFIG=config,
        )
        send(settings, [command("a", count=2, name="c1"), command("a", count=2, name="c1")])
        await so(lambda: len(warm(settings)) == 2)

        assert {one.endpoint for one in warm(settings)} == {"http://127.0.0.9:9000"}
        await so(lambda: max(used_cpu(settings), default=0.0) == 200)
        running.process.terminate()
        assert await asyncio.to_thread(running.wait, 30) == 0
        assert len(kube.pods()) == 2
        assert "HTTP Request" not in running.output
        lease = kube.get("coordination.k8s.io/v1/leases", "foremesh-default")
        assert lease["spec"]["holderIdentity"] == ""


async def test_a_dry_run_on_kubernetes_writes_nothing_and_says_what_it_found(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a"), constituent("b")))
    async with Kube() as kube:
        kube.add("apps/v1/deployments", deployment("a"))
        config = kubeconfig(kube, tmp_path / "kubeconfig")
        running = run_foremesh(
            *("provision", "--on", "kubernetes", "--namespace", NAMESPACE, "--dry-run"),
            KUBECONFIG=config,
        )
        said = await asyncio.to_thread(running.finish)

        assert "a: Deployment a-warm, 0 pods, ours to scale" in said
        assert "b: no Deployment of the pool is labelled foremesh.io/constituent=b" in said
        written = [one for one in kube.api if one.method != "GET"]
        assert {one.params["dryRun"] for one in written} == {"All"}


async def test_keda_is_told_what_the_allocator_wants(
    settings: Settings, topics: list[str], run_foremesh: RunForemesh
) -> None:
    assert topics
    send(settings, catalog_of(constituent("a")))
    run_foremesh("provision", "--dry-run")
    at = f"127.0.0.1:{free_port()}"
    run_foremesh("keda", "--listen", at)
    send(settings, [command("a", count=3)])
    ref = externalscaler_pb2.ScaledObjectRef(name="a", scalerMetadata={"constituent": "a"})
    async with grpc.aio.insecure_channel(at) as channel:
        ask = channel.unary_unary(
            "/externalscaler.ExternalScaler/GetMetrics",
            externalscaler_pb2.GetMetricsRequest.SerializeToString,
            externalscaler_pb2.GetMetricsResponse.FromString,
        )
        question = externalscaler_pb2.GetMetricsRequest(scaledObjectRef=ref)
        value = 0
        async with asyncio.timeout(60):
            while value != 3:
                answer = await ask(question, wait_for_ready=True)
                value = answer.metricValues[0].metricValue
                await asyncio.sleep(0.1)
