"""A namespace of a Kubernetes cluster: the Deployments that are ours to scale, and their pods."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from httpx2 import HTTPError, HTTPStatusError
from lightkube import AsyncClient
from lightkube.core.resource import api_info
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import PatchType
from lightkube.utils.quantity import parse_quantity

from streams.records.catalog import Constituent, Resources

__all__ = [
    "CONSTITUENT",
    "POOL",
    "ApiServerError",
    "KubernetesCluster",
    "OwnedByAnother",
    "ScaleJournal",
    "WarmDeployment",
    "code_of",
]

CONSTITUENT, POOL = "foremesh.io/constituent", "foremesh.io/pool"
JOURNAL, REQUESTS = "foremesh.io/journal", "foremesh.io/requests"
NOT_FOUND, CONFLICT = 404, 409
COST = "controller.kubernetes.io/pod-deletion-cost"
MANAGER = "foremesh"
ApiServerError = HTTPError  # the API server refuses or does not answer
_PodMetrics = create_namespaced_resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods")
_MIB = 1024 * 1024
_Labels = dict[str, Any]  # as lightkube has them: values may be operators


def code_of(error: Exception) -> int:
    """The HTTP status that an error stands for; 0 when there was no answer."""
    return error.response.status_code if isinstance(error, HTTPStatusError) else 0


class OwnedByAnother(Exception):
    """Somebody else decides how many pods there are; the message names them."""


@dataclass(frozen=True, slots=True)
class ScaleJournal:
    """How many instances are wanted, and the last commands that are part of that number.

    Kept in an annotation, in one write, before the scale follows: a provisioner that dies in
    between leaves its successor the number to reach and the commands not to do again.
    """

    wanted: int = 0
    commands: tuple[str, ...] = ()

    def text(self) -> str:
        """As it stands in the annotation."""
        return json.dumps({"wanted": self.wanted, "commands": list(self.commands)})

    @classmethod
    def of(cls, text: str | None) -> ScaleJournal:
        """What an annotation says; one that cannot be read says nothing."""
        try:
            found = json.loads(text or "{}")
            return cls(int(found.get("wanted", 0)), tuple(map(str, found.get("commands", ()))))
        except (ValueError, TypeError, AttributeError):
            return cls()


@dataclass(frozen=True, slots=True)
class WarmDeployment:
    """A Deployment whose pods are a constituent's instances."""

    name: str
    service: str
    replicas: int
    container: str
    requests: dict[str, str]  # what its container asks for, by whomever
    ours: str  # the requests that were set by us
    journal: ScaleJournal


class KubernetesCluster:
    """What we ask of the API server; every call can raise `ApiServerError`.

    Parameters
    ----------
    client
        Of one namespace.
    pool
        The pool whose Deployments are ours: those labelled with it and with a constituent.
    take_over
        Scale Deployments also against an autoscaler or another owner of `spec.replicas`.
    kind
        What is scaled: Deployments, or another kind that has pods by a template, and a scale.
    """

    def __init__(
        self,
        client: AsyncClient,
        pool: str,
        *,
        take_over: bool = False,
        kind: type[Any] = Deployment,
    ) -> None:
        self._client = client
        self._kind, self._named = kind, api_info(kind).resource
        self._pool = pool
        self._labels: _Labels = {POOL: pool}
        self.take_over = take_over

    async def warm_sets(self) -> dict[str, WarmDeployment]:
        """The Deployments of the pool, by constituent."""
        found = self._client.list(self._kind, labels=self._labels)
        sets = [_warm_set(one) async for one in found if _is_ours(one, self._labels)]
        return {one.service: one for one in sets}

    async def autoscalers(self) -> dict[str, str]:
        """Who scales Deployments of the namespace, by Deployment; KEDA does it by these too."""
        found = self._client.list(HorizontalPodAutoscaler)
        scaled = {}
        async for one in found:
            if one.spec.scaleTargetRef.kind == self._named.kind:
                scaled[one.spec.scaleTargetRef.name] = _named(one.metadata)
        return scaled

    async def write(
        self, warm: WarmDeployment, journal: ScaleJournal, constituent: Constituent | None
    ) -> None:
        """Apply what is ours of a Deployment, except its scale.

        Raises
        ------
        Owned
            Another manager has fields that we would set.
        """
        annotations = {JOURNAL: journal.text(), "foremesh.io/owner": self._pool}
        body: dict[str, object] = {}
        requests = _requests(warm, constituent)
        if requests:
            annotations[REQUESTS] = json.dumps(requests, sort_keys=True)
            container = {"name": warm.container, "resources": {"requests": requests}}
            body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        whole = {
            "apiVersion": self._named.api_version,
            "kind": self._named.kind,
            "metadata": {"name": warm.name, "annotations": annotations},
            **body,
        }
        await self._owned(
            warm.name,
            self._client.patch(
                self._kind, warm.name, whole, patch_type=PatchType.APPLY, field_manager=MANAGER
            ),
        )

    async def scale(self, warm: WarmDeployment, replicas: int) -> None:
        """Apply the number of pods to the scale subresource.

        Raises
        ------
        Owned
            Another manager has set it, and `take_over` was not said.
        """
        scale = self._kind.Scale(
            apiVersion="autoscaling/v1",
            kind="Scale",
            metadata=ObjectMeta(name=warm.name),
            spec=ScaleSpec(replicas=replicas),
        )
        applied = self._client.apply(scale, warm.name, field_manager=MANAGER, force=self.take_over)
        await self._owned(warm.name, applied)

    async def prefer_to_end(self, pod: str, cost: int) -> None:
        """Say how dear a pod is: of a Deployment that shrinks the cheapest goes first."""
        note = {"metadata": {"annotations": {COST: str(cost)}}}
        await self._client.patch(Pod, pod, note, patch_type=PatchType.MERGE)

    async def pods(self) -> tuple[list[Pod], str]:
        """The pods of the pool, and as of which version."""
        found = self._client.list(Pod, labels=self._labels)
        pods = [pod async for pod in found if _is_ours(pod, self._labels)]
        return pods, found.resourceVersion

    async def changes(self, version: str) -> AsyncIterator[tuple[str, Pod]]:
        """Changes of pods after a version; ends or raises `ApiServerError` when one must list again."""
        watch = self._client.watch(Pod, labels=self._labels, resource_version=version)
        async for kind, pod in watch:
            if _is_ours(pod, self._labels):
                yield kind, pod

    async def room(self) -> Resources:
        """What the nodes that take pods can allocate."""
        total = Resources()
        async for node in self._client.list(Node):
            ready = any(
                c.type == "Ready" and c.status == "True"
                for c in (node.status and node.status.conditions) or ()
            )
            if ready and node.status and not (node.spec and node.spec.unschedulable):
                total += _amount(node.status.allocatable or {})
        return total

    async def measured(self) -> dict[str, Resources]:
        """What each pod takes, by the metrics server."""
        found = self._client.list(_PodMetrics, labels=self._labels)
        return {
            one.metadata.name: _sum([_amount(c["usage"]) for c in one["containers"]])
            async for one in found
            if one.metadata and one.metadata.name
        }

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.close()

    async def _owned(self, name: str, call: Awaitable[object]) -> None:
        try:
            await call
        except ApiServerError as error:
            if code_of(error) == CONFLICT:
                raise OwnedByAnother(
                    f"{self._named.kind} {name} is held by another: {error}"
                ) from error
            raise


def _named(metadata: ObjectMeta | None) -> str:
    return str(metadata.name) if metadata is not None and metadata.name else ""


def _is_ours(one: Deployment | Pod, labels: Mapping[str, str]) -> bool:
    have = (one.metadata and one.metadata.labels) or {}
    return CONSTITUENT in have and all(have.get(k) == v for k, v in labels.items())


def _warm_set(one: Deployment) -> WarmDeployment:
    assert one.metadata
    assert one.metadata.name
    assert one.spec is not None
    notes = one.metadata.annotations or {}
    pod = one.spec.template.spec
    first = pod.containers[0] if pod and pod.containers else None
    requests = (first.resources.requests if first and first.resources else None) or {}
    return WarmDeployment(
        name=one.metadata.name,
        service=(one.metadata.labels or {})[CONSTITUENT],
        replicas=one.spec.replicas if one.spec.replicas is not None else 1,
        container=first.name if first else "",
        requests={k: v for k, v in requests.items() if k in {"cpu", "memory"}},
        ours=notes.get(REQUESTS, ""),
        journal=ScaleJournal.of(notes.get(JOURNAL)),
    )


def _requests(warm: WarmDeployment, constituent: Constituent | None) -> dict[str, str]:
    """The catalogue's needs as requests, where nobody else has said what the container needs."""
    others = warm.requests and _amount(warm.requests) != _amount(json.loads(warm.ours or "{}"))
    if constituent is None or not warm.container or others:
        return {}
    needs = constituent.needs
    return {"cpu": f"{needs.cpu:.0f}m", "memory": f"{needs.memory:.0f}Mi"}


def _amount(quantities: Mapping[str, str]) -> Resources:
    cpu, memory = (parse_quantity(quantities.get(k, "0")) or 0 for k in ("cpu", "memory"))
    return Resources(cpu=float(cpu) * 1000, memory=float(memory) / _MIB)


def _sum(parts: Sequence[Resources]) -> Resources:
    return sum(parts, Resources())
