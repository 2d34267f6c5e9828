"""A Kubernetes API over real HTTP, with what a controller manager and a kubelet would do."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import aiohttp.web
import kmock
from lightkube import AsyncClient, KubeConfig
from lightkube.config.models import Cluster as Server
from lightkube.config.models import User
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType

from foremesh.testing.provisioners import ONE, ProvisionerHouse
from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.kubernetes.cluster import (
    CONSTITUENT,
    COST,
    NOT_FOUND,
    POOL,
    ApiServerError,
    KubernetesCluster,
    code_of,
)
from streams.provisioners.kubernetes.provisioner import KubernetesProvisioner
from streams.records import Instance
from streams.records.catalog import Catalog, Constituent

__all__ = ["NAMESPACE", "Kube", "KubernetesHouse"]

NAMESPACE = "shop"
KINDS = (
    "v1/pods",
    "v1/nodes",
    "apps/v1/deployments",
    "autoscaling/v2/horizontalpodautoscalers",
    "coordination.k8s.io/v1/leases",
    "metrics.k8s.io/v1beta1/pods",
)
QUICK_S, SLOW_S = 0.03, 0.8


def deployment(service: str, pool: str = "default") -> dict[str, Any]:
    """What a platform team would have made for a constituent."""
    labels = {CONSTITUENT: service, POOL: pool}
    return {
        "metadata": {"name": f"{service}-warm", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "ports": [{"containerPort": 9000}]}]},
            },
        },
    }


def node(name: str, **allocatable: str) -> dict[str, Any]:
    """A node that takes pods."""
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name},
        "spec": {},
        "status": {"allocatable": allocatable, "conditions": ready},
    }


class Api(kmock.KubernetesEmulator):
    """The emulator, which can also refuse."""

    refusals: dict[str, tuple[int, bytes, Iterator[int]]]

    async def _handle(self, request: Any) -> Any:
        status, body, left = self.refusals.get(request.url.path, (0, b"", iter(())))
        if next(left, None) is None:
            return await super()._handle(request)
        # Exactly this content type, as the real one sends it.
        return aiohttp.web.Response(status=status, body=body, content_type="application/json")


class Kube:
    """The server, and its Deployment controller: pods appear, become ready, and are deleted."""

    def __init__(self) -> None:
        self.api = Api(strict=False)
        self.api.refusals = {}
        for kind in KINDS:
            self.api.resources[kind] = kmock.ResourceInfo()
        self._names = itertools.count()
        self._paused = False
        self._beginnings: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        await self.api.__aenter__()  # so that errors are answered as Kubernetes does
        self._server = kmock.Server(self.api, host="127.0.0.1")
        await self._server.__aenter__()
        self.client = self.connect("controller")
        self._works = asyncio.create_task(self._control())
        self.add("v1/nodes", node("n1", cpu="4", memory="8Gi"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._works.cancel()
        await asyncio.gather(self._works, return_exceptions=True)
        await self.client.close()
        await self._server.__aexit__(None, None, None)
        await self.api.__aexit__(None, None, None)

    @property
    def address(self) -> str:
        return str(self._server.url)

    def connect(self, token: str = "provisioner") -> AsyncClient:
        """A client of somebody's; what was asked can be told apart by the token."""
        config = KubeConfig.from_one(cluster=Server(server=self.address), user=User(token=token))
        return AsyncClient(config, namespace=NAMESPACE, trust_env=False)

    def add(self, kind: str, made: dict[str, Any]) -> None:
        name = made["metadata"]["name"]
        self._beginnings[name] = copy.deepcopy(made)
        self.api.objects[kind, made["metadata"].get("namespace"), name] = made

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.objects[kind, NAMESPACE, name].raw
        return found

    def requests(self, path: str) -> list[Any]:
        """What was asked of a path, in order."""
        return [one for one in self.api if one.url.path == path]

    def refuse(self, path: str, status: int, message: str, times: int = 1_000_000) -> None:
        """Answer the next requests to a path so, and do nothing of what they ask."""
        said = {"kind": "Status", "apiVersion": "v1", "code": status, "message": message}
        self.api.refusals[path] = (status, json.dumps(said).encode(), iter(range(times)))

    def pause(self) -> None:
        """Have the controller do nothing any more."""
        self._paused = True

    def pods(self, service: str | None = None) -> list[dict[str, Any]]:
        return [p for p in self._all("pods") if service in {None, _labels(p)[CONSTITUENT]}]

    async def fail(self, pod: str) -> None:
        await self.client.patch(
            Pod, pod, {"status": {"phase": "Failed"}}, patch_type=PatchType.MERGE
        )
        await self.client.delete(Pod, pod)

    def _all(self, plural: str) -> Iterator[dict[str, Any]]:
        for (resource, _, _), found in list(self.api.objects.items()):
            if resource.plural == plural and not found.deleted:
                yield found.raw

    async def _control(self) -> None:
        ready: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.01)
            if self._paused:
                continue
            for one in self._all("deployments"):
                for pod in await self._match(one):
                    slow = _labels(one)[CONSTITUENT].startswith("slow")
                    ready[pod] = loop.time() + (SLOW_S if slow else QUICK_S)
            for pod in [pod for pod, at in ready.items() if at <= loop.time()]:
                del ready[pod]
                await self._become_ready(pod)

    async def _match(self, one: dict[str, Any]) -> list[str]:
        """Create or delete pods, as many as it says; the new ones' names."""
        service = _labels(one)[CONSTITUENT]
        there, wanted = self.pods(service), one["spec"]["replicas"]
        # The real order: not ready before ready, then the cheapest (ReplicaSet controller).
        there.sort(key=lambda pod: (_is_ready(pod), _cost(pod)))
        for pod in there[: max(0, len(there) - wanted)]:
            await self.client.delete(Pod, pod["metadata"]["name"])
        return [await self._create(one) for _ in range(wanted - len(there))]

    async def _create(self, one: dict[str, Any]) -> str:
        template = self._beginnings[one["metadata"]["name"]]["spec"]["template"]
        name = f"{one['metadata']['name']}-{next(self._names)}"
        metadata = {**template["metadata"], "name": name, "namespace": NAMESPACE}
        made = {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}}
        pod: Pod = Pod.from_dict(copy.deepcopy(made))  # type: ignore[assignment]  # it is one
        await self.client.create(pod)
        return name

    async def _become_ready(self, pod: str) -> None:
        status = {
            "phase": "Running",
            "podIP": "127.0.0.9",
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        try:
            await self.client.patch(Pod, pod, {"status": status}, patch_type=PatchType.MERGE)
        except ApiServerError as error:
            if code_of(error) != NOT_FOUND:  # deleted before it was ready
                raise


class DeploymentHouse(ProvisionerHouse, ABC):
    """A namespace with a Deployment for each constituent."""

    now: KubernetesProvisioner
    limits = ProvisionerLimits(
        grace_ms=20, claim_ms=1_000, stop_ms=2_000, start_ms=10_000, starts=8
    )

    def __init__(self, catalog: Catalog, *, take_over: bool = False) -> None:
        super().__init__(catalog)
        self.take_over = take_over

    @abstractmethod
    def connect(self) -> AsyncClient:
        """A client with the rights of the provisioner."""

    def make(self) -> KubernetesProvisioner:
        return KubernetesProvisioner(
            "default",
            lambda: self.catalog,
            self.told.records.append,
            self.limits,
            cluster=KubernetesCluster(self.connect(), "default", take_over=self.take_over),
        )

    async def die(self) -> None:
        await self.now.close()

    @classmethod
    def quick(cls, name: str, *, concurrency: int = 1) -> Constituent:
        return Constituent(
            service=name, needs=ONE, warm_up_ms=100, price=1.0, concurrency=concurrency
        )


class KubernetesHouse(DeploymentHouse):
    """A namespace of the emulated API server."""

    def __init__(self, catalog: Catalog, *, take_over: bool = False) -> None:
        super().__init__(catalog, take_over=take_over)
        self.kube = Kube()

    def connect(self) -> AsyncClient:
        return self.kube.connect()

    async def __aenter__(self) -> Self:
        await self.kube.__aenter__()
        for service in self.catalog.constituents:
            self.kube.add("apps/v1/deployments", deployment(service))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()
        await self.kube.__aexit__()

    async def crash(self, instance: Instance) -> None:
        await self.kube.fail(instance.instance_id)

    def running(self) -> int:
        return len(self.kube.pods())

    @classmethod
    def slow(cls, name: str) -> Constituent:
        return Constituent(service=name, needs=ONE, warm_up_ms=800, price=1.0)


def _labels(one: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = one["metadata"]["labels"]
    return found


def _is_ready(pod: dict[str, Any]) -> bool:
    return bool(pod["status"].get("conditions"))


def _cost(pod: dict[str, Any]) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(COST, 0))
