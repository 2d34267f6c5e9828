"""A namespace of a cluster as an operator would prepare it: the manifests' rights, and Deployments."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from control_plane import ControlPlane
from harness import CHECKOUT
from kwok import FAKE
from lightkube import AsyncClient, codecs
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace, Pod, ServiceAccountToken
from lightkube.types import PatchType

from streams.provisioners.kubernetes.cluster import CONSTITUENT, MANAGER, POOL

__all__ = ["Tenant", "deploy_cold", "deployment", "deployment_of", "quota"]

RIGHTS = CHECKOUT / "deploy" / "kubernetes" / "rbac.yaml"
ACCOUNT = "foremesh-provisioner"


class Tenant:
    """A namespace of its own, gone at the end; `admin` may do everything in it."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster
        self.namespace = f"shop-{uuid.uuid4().hex[:8]}"
        self.admin = cluster.connect(self.namespace)
        self.pods: dict[str, Pod] = {}  # those that are not being deleted
        # When pods were there, and when they had a node (seconds since the epoch).
        self.created: dict[str, list[float]] = defaultdict(list)
        self.scheduled: dict[str, list[float]] = defaultdict(list)
        self._bound: set[str] = set()  # pods that have
        self._token = ""

    async def __aenter__(self) -> Self:
        await self.admin.create(Namespace(metadata=ObjectMeta(name=self.namespace)))
        for one in rights(self.namespace):
            await self.admin.create(one)
        lasting = TokenRequestSpec(audiences=[], expirationSeconds=3_600)
        asked = ServiceAccountToken(metadata=ObjectMeta(), spec=lasting)
        given = await self.admin.create(asked, ACCOUNT)
        assert given.status
        self._token = str(given.status.token)
        self._sees = asyncio.create_task(self._see())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sees.cancel()
        await asyncio.gather(self._sees, return_exceptions=True)
        await self.admin.delete(Namespace, self.namespace)
        await self.admin.close()

    def connect(self) -> AsyncClient:
        """A client of the provisioner's service account."""
        return self.cluster.connect(self.namespace, self._token)

    def kubeconfig(self, path: Path) -> Path:
        """A file that says the same to a program."""
        config = self.cluster.kubeconfig(self.namespace, self._token).read_text()
        path.write_text(config.replace("user: me}", f"user: me, namespace: {self.namespace}}}"))
        return path

    async def create(self, manifest: dict[str, Any]) -> None:
        """What somebody else makes."""
        made: Any = codecs.from_dict(manifest)
        await self.admin.create(made)

    async def deploy(self, service: str, **annotations: str) -> None:
        """What a platform team makes for a constituent, scaled to nothing by an earlier provisioner."""
        await deploy_cold(self.admin, deployment(service, annotations))

    async def change(self, service: str, patch: dict[str, Any]) -> None:
        """Change the Deployment of a constituent."""
        await self.admin.patch(
            Deployment, f"{service}-warm", patch, patch_type=PatchType.MERGE, field_manager="tests"
        )

    async def annotate(self, service: str, **annotations: str) -> None:
        """Have the pods of a constituent become something else: see stages.yaml."""
        metadata = {"annotations": notes(annotations)}
        await self.change(service, {"spec": {"template": {"metadata": metadata}}})

    def running(self, service: str | None = None) -> int:
        """How many pods there are."""
        return sum(service in {None, labels_of(pod)[CONSTITUENT]} for pod in self.pods.values())

    async def _see(self) -> None:
        async for kind, pod in self.admin.watch(Pod, resource_version="0"):
            assert pod.metadata
            if kind == "DELETED" or pod.metadata.deletionTimestamp:
                self.pods.pop(str(pod.metadata.name), None)
                continue
            if kind == "ADDED":
                self.created[labels_of(pod)[CONSTITUENT]].append(time.time())
            self.pods[str(pod.metadata.name)] = pod
            if pod.spec and pod.spec.nodeName and pod.metadata.name not in self._bound:
                self._bound.add(str(pod.metadata.name))
                self.scheduled[labels_of(pod)[CONSTITUENT]].append(time.time())


def rights(namespace: str) -> list[Any]:
    """The manifests' own, in a namespace; what has none has its name as an ending."""
    found: list[Any] = codecs.load_all_yaml(RIGHTS.read_text())
    for one in found:
        if one.kind.startswith("Cluster"):
            one.metadata.name = f"{one.metadata.name}-{namespace}"
        else:
            one.metadata.namespace = namespace
        for subject in getattr(one, "subjects", None) or ():
            subject.namespace = namespace
        if one.kind == "ClusterRoleBinding":
            one.roleRef.name = f"{one.roleRef.name}-{namespace}"
    return found


def deployment(service: str, annotations: dict[str, str]) -> dict[str, Any]:
    """A Deployment of a constituent whose pods run on kwok's nodes, without replicas."""
    pod = {
        "automountServiceAccountToken": False,
        "tolerations": [{"key": FAKE, "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [{"name": "main", "image": "none", "ports": [{"containerPort": 9000}]}],
    }
    return deployment_of(service, pod, notes(annotations))


def deployment_of(
    service: str, pod: Mapping[str, Any], annotations: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """A Deployment of these pods with the labels of a constituent, without replicas."""
    labels = {CONSTITUENT: service, POOL: "default"}
    metadata = {"labels": labels, "annotations": dict(annotations)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{service}-warm", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": metadata, "spec": pod},
        },
    }


async def deploy_cold(admin: AsyncClient, manifest: dict[str, Any]) -> None:
    """Create a Deployment that a provisioner has scaled to nothing before."""
    name = manifest["metadata"]["name"]
    manifest["spec"]["paused"] = True  # or there would be a pod before it is scaled
    made: Any = codecs.from_dict(manifest)
    await admin.create(made)
    nothing = Deployment.Scale(
        apiVersion="autoscaling/v1", kind="Scale", spec=ScaleSpec(replicas=0)
    )
    await admin.apply(nothing, name, field_manager=MANAGER, force=True)
    go_on = {"spec": {"paused": None}}
    await admin.patch(Deployment, name, go_on, patch_type=PatchType.MERGE, field_manager="tests")


def quota(pods: int) -> dict[str, Any]:
    """A limit of the pods of a namespace, to be created."""
    metadata = {"name": "small"}
    spec = {"hard": {"pods": str(pods)}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}


def notes(of_a_pod: dict[str, str]) -> dict[str, str]:
    return {f"foremesh.test/{name.replace('_', '-')}": said for name, said in of_a_pod.items()}


def labels_of(pod: Pod) -> dict[str, str]:
    return dict((pod.metadata and pod.metadata.labels) or {})
