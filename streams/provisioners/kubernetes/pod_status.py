"""Pure functions that read the metadata and status of a pod."""

from __future__ import annotations

from lightkube.resources.core_v1 import Pod

from streams.provisioners.kubernetes.cluster import CONSTITUENT

__all__ = ["ended", "endpoint_of", "name_of", "obstacle_of", "ready", "service_of"]


def name_of(pod: Pod) -> str:
    """Return its name, which is the id of its instance."""
    return (pod.metadata and pod.metadata.name) or ""


def service_of(pod: Pod) -> str:
    """Return the constituent that it is an instance of."""
    return str(((pod.metadata and pod.metadata.labels) or {}).get(CONSTITUENT, ""))


def ended(kind: str, pod: Pod) -> str:
    """Return why a pod serves no more; empty while it serves or starts."""
    if kind == "DELETED" or (pod.metadata and pod.metadata.deletionTimestamp):
        why = _condition(pod, "DisruptionTarget", "True")
        return f"its pod was deleted: {why}" if why else "its pod was deleted"
    phase = pod.status.phase if pod.status else None
    said = (pod.status and (pod.status.message or pod.status.reason)) or ""
    ending = f": {said}" if said else ""
    return f"its pod has {phase.lower()}{ending}" if phase in {"Failed", "Succeeded"} else ""


def obstacle_of(pod: Pod) -> str:
    """Return what keeps a pod from being ready, as far as Kubernetes says; empty for nothing."""
    if unscheduled := _condition(pod, "PodScheduled", "False"):
        return f"no node takes it: {unscheduled}"
    for one in (pod.status and pod.status.containerStatuses) or ():
        waiting = one.state and one.state.waiting
        if waiting and (waiting.message or waiting.reason):
            return f"container {one.name} waits: {waiting.message or waiting.reason}"
    return _condition(pod, "Ready", "False")


def _condition(pod: Pod, kind: str, status: str) -> str:
    """What a pod says of a condition that it is in; empty if it is not."""
    conditions = (pod.status and pod.status.conditions) or ()
    there = (c for c in conditions if c.type == kind and c.status == status)
    return next((c.message or c.reason or "" for c in there), "")


def ready(pod: Pod) -> bool:
    """Whether its readiness probe succeeds."""
    conditions = (pod.status and pod.status.conditions) or []
    return any(c.type == "Ready" and c.status == "True" for c in conditions)


def endpoint_of(pod: Pod) -> str:
    """Return the URL of a pod: the first port that its containers name, or else 80."""
    containers = pod.spec.containers if pod.spec else []
    ports = [port.containerPort for one in containers for port in one.ports or ()]
    return f"http://{(pod.status and pod.status.podIP) or ''}:{ports[0] if ports else 80}"
