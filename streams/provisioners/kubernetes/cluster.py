"""Calls to the API server: the Deployments of a pool, their scale, and their pods."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from httpx2 import HTTPError, HTTPStatusError
from lightkube import AsyncClient
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import PatchType
from lightkube.utils.quantity import parse_quantity
from msgspec.json import Decoder

from streams.provisioners.kubernetes.scale_journal import ScaleJournal
from streams.provisioners.kubernetes.watched_kind import PAGE, WatchedKind
from streams.records.catalog import Constituent, Resources

__all__ = [
    "CONSTITUENT",
    "LAST_APPLIED",
    "MANAGER",
    "POOL",
    "REQUESTS",
    "ApiServerError",
    "KubernetesCluster",
    "OwnedByAnother",
    "WarmDeployment",
    "code_of",
    "lacks_requests",
]

CONSTITUENT, POOL = "foremesh.io/constituent", "foremesh.io/pool"
JOURNAL, REQUESTS = "foremesh.io/journal", "foremesh.io/requests"
NOT_FOUND, CONFLICT = 404, 409
DEPLOYMENT = "Deployment"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
COST = "controller.kubernetes.io/pod-deletion-cost"
MANAGER = "foremesh"
ApiServerError = HTTPError  # the API server refused a request or did not answer
_PodMetrics = create_namespaced_resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods")
_MIB = 1024 * 1024
_SMALL = {"n": 1e-9, "u": 1e-6}
_UNREADABLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
_QUANTITIES = Decoder(dict[str, str])
_Labels = dict[str, Any]  # lightkube's type: values may be operators


def code_of(error: Exception) -> int:
    """Return the HTTP status of an error; 0 when there was no answer."""
    return error.response.status_code if isinstance(error, HTTPStatusError) else 0


class OwnedByAnother(Exception):
    """Another field manager owns a field that we would set; the message names it."""


@dataclass(frozen=True, slots=True)
class WarmDeployment:
    """A Deployment whose pods are a constituent's instances."""

    name: str
    service: str
    replicas: int
    container: str
    requests: dict[str, str]  # resource requests of its container, whoever set them
    ours: Resources  # those that we set, by the annotation that we set with them
    journal: ScaleJournal
    failure: str = ""  # why Kubernetes cannot make its pods
    unclaimed: bool = False  # nobody chose its replicas: they are Kubernetes' default

    @classmethod
    def of(cls, one: Deployment) -> WarmDeployment:
        """Read one that has the labels."""
        assert one.metadata
        assert one.metadata.name
        assert one.spec is not None
        annotations = one.metadata.annotations or {}
        pod = one.spec.template.spec
        first = pod.containers[0] if pod and pod.containers else None
        requests = (first.resources.requests if first and first.resources else None) or {}
        return cls(
            name=one.metadata.name,
            service=(one.metadata.labels or {})[CONSTITUENT],
            replicas=one.spec.replicas if one.spec.replicas is not None else 1,
            container=first.name if first else "",
            requests={k: v for k, v in requests.items() if k in {"cpu", "memory"}},
            ours=_noted(annotations.get(REQUESTS)),
            journal=ScaleJournal.of(annotations.get(JOURNAL)),
            failure=_failure(one),
            unclaimed=_unclaimed(one),
        )


class KubernetesCluster:
    """The Deployments and pods of a pool; every call can raise `ApiServerError`.

    Parameters
    ----------
    client
        A client of one namespace.
    pool
        The pool; its Deployments carry its label and that of a constituent.
    take_over
        Scale Deployments even if an autoscaler or another manager owns `spec.replicas`.
    """

    def __init__(
        self,
        client: AsyncClient,
        pool: str,
        *,
        take_over: bool = False,
    ) -> None:
        self._client = client
        self._pool = pool
        self._labels: _Labels = {POOL: pool}
        self.take_over = take_over
        self.pods: WatchedKind[Pod] = WatchedKind(client, Pod, self._labels, CONSTITUENT)
        self.deployments: WatchedKind[Deployment] = WatchedKind(
            client, Deployment, self._labels, CONSTITUENT
        )

    async def autoscalers(self) -> dict[str, str]:
        """Return the HorizontalPodAutoscalers of the namespace, by Deployment; KEDA makes them too."""
        listed = self._client.list(HorizontalPodAutoscaler, chunk_size=PAGE)
        scaled = {}
        async for one in listed:
            if one.spec.scaleTargetRef.kind == DEPLOYMENT:
                scaled[one.spec.scaleTargetRef.name] = _name(one.metadata)
        return scaled

    async def write(
        self, warm: WarmDeployment, journal: ScaleJournal, constituent: Constituent | None
    ) -> None:
        """Apply the annotations and resource requests that are ours, but not the scale.

        Raises
        ------
        OwnedByAnother
            Another manager owns a field that we would set.
        """
        annotations = {JOURNAL: journal.text(), "foremesh.io/owner": self._pool}
        body: dict[str, object] = {}
        requests = _requests(warm, constituent)
        if requests:
            annotations[REQUESTS] = json.dumps(requests, sort_keys=True)
            container = {"name": warm.container, "resources": {"requests": requests}}
            body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        manifest = {
            "apiVersion": "apps/v1",
            "kind": DEPLOYMENT,
            "metadata": {"name": warm.name, "annotations": annotations},
            **body,
        }
        await self._apply(
            warm.name,
            self._client.patch(
                Deployment, warm.name, manifest, patch_type=PatchType.APPLY, field_manager=MANAGER
            ),
        )

    async def scale(self, warm: WarmDeployment, replicas: int) -> None:
        """Set the number of pods by the scale subresource.

        Raises
        ------
        OwnedByAnother
            Another manager has chosen it, and `take_over` is not set.
        """
        scale = Deployment.Scale(
            apiVersion="autoscaling/v1",
            kind="Scale",
            metadata=ObjectMeta(name=warm.name),
            spec=ScaleSpec(replicas=replicas),
        )
        force = self.take_over or warm.unclaimed
        applied = self._client.apply(scale, warm.name, field_manager=MANAGER, force=force)
        await self._apply(warm.name, applied)

    async def set_deletion_cost(self, pod: str, cost: int) -> None:
        """Set the deletion cost of a pod: a Deployment that shrinks deletes the cheapest first.

        A pod that has gone by itself needs none.
        """
        patch = {"metadata": {"annotations": {COST: str(cost)}}}
        try:
            await self._client.patch(Pod, pod, patch, patch_type=PatchType.MERGE)
        except ApiServerError as error:
            if code_of(error) != NOT_FOUND:
                raise

    async def allocatable(self) -> Resources:
        """Return the allocatable resources of all ready, schedulable nodes."""
        total = Resources()
        async for node in self._client.list(Node, chunk_size=PAGE):
            ready = any(
                c.type == "Ready" and c.status == "True"
                for c in (node.status and node.status.conditions) or ()
            )
            if ready and node.status and not (node.spec and node.spec.unschedulable):
                total += _amount(node.status.allocatable or {})
        return total

    async def measured(self) -> dict[str, Resources]:
        """Return the use of each pod, from the metrics server; without what cannot be read."""
        found: dict[str, Resources] = {}
        async for one in self._client.list(_PodMetrics, labels=self._labels, chunk_size=PAGE):
            name = one.metadata.name if one.metadata else None
            with suppress(*_UNREADABLE):
                used = sum((_amount(c["usage"]) for c in one["containers"]), Resources())
                found[name or ""] = used
        return found

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def _apply(self, name: str, call: Awaitable[object]) -> None:
        try:
            await call
        except ApiServerError as error:
            if code_of(error) == CONFLICT:
                raise OwnedByAnother(f"{DEPLOYMENT} {name} is held by another: {error}") from error
            raise


def lacks_requests(warm: WarmDeployment, constituent: Constituent | None) -> bool:
    """Whether a write would set resource requests that its pods do not have yet."""
    requests = _requests(warm, constituent)
    return bool(requests) and _amount(requests) != _amount(warm.requests)


def _name(metadata: ObjectMeta | None) -> str:
    return str(metadata.name) if metadata is not None and metadata.name else ""


def _failure(one: Deployment) -> str:
    conditions = (one.status and one.status.conditions) or ()
    failures = (c for c in conditions if c.type == "ReplicaFailure" and c.status == "True")
    return next((c.message or c.reason or "" for c in failures), "")


def _unclaimed(one: Deployment) -> bool:
    """Whether nobody chose the replicas; the default counts to Kubernetes as its creator's choice.

    Only the creator owns the selector, which cannot be changed.
    """
    assert one.metadata
    assert one.spec is not None
    managed = [(m, (m.fieldsV1 or {}).get("f:spec", {})) for m in one.metadata.managedFields or ()]
    owners = [(m, spec) for m, spec in managed if "f:replicas" in spec and m.manager != MANAGER]
    created = all(m.operation == "Update" and "f:selector" in spec for m, spec in owners)
    declared = '"replicas":' in (one.metadata.annotations or {}).get(LAST_APPLIED, "")
    return one.spec.replicas == 1 and created and not declared


def _requests(warm: WarmDeployment, constituent: Constituent | None) -> dict[str, str]:
    """Return the catalogue's needs as resource requests, unless others set the requests.

    Where there are pods, ours stay as they are: Kubernetes would replace all of them, busy or not.
    """
    by_others = warm.requests and _amount(warm.requests) != warm.ours
    if not warm.container or by_others:
        return {}
    if warm.replicas:
        return warm.requests
    if constituent is None:
        return {}
    needs = constituent.needs
    return {"cpu": f"{needs.cpu:.0f}m", "memory": f"{needs.memory:.0f}Mi"}


def _noted(text: str | None) -> Resources:
    """Parse the annotation with the requests that we set; an unreadable one counts as empty."""
    try:
        return _amount(_QUANTITIES.decode(text or "{}"))
    except (ValueError, ArithmeticError, RecursionError):
        return Resources()


def _amount(quantities: Mapping[str, str]) -> Resources:
    cpu, memory = (_number(quantities.get(name, "0")) for name in ("cpu", "memory"))
    return Resources(cpu=cpu * 1000, memory=memory / _MIB)


def _number(quantity: str) -> float:
    """A quantity; a metrics server tells cpu in billionths, which lightkube does not read."""
    small = _SMALL.get(quantity[-1:])
    return float(quantity[:-1]) * small if small else float(parse_quantity(quantity) or 0)
