"""What a pod says of itself."""

from __future__ import annotations

from lightkube.resources.core_v1 import Pod

from streams.provisioners.kubernetes.cluster import CONSTITUENT

__all__ = ["ended", "endpoint_of", "name_of", "ready", "service_of"]


def name_of(pod: Pod) -> str:
    """Its name, which is its instance's too."""
    return (pod.metadata and pod.metadata.name) or ""


def service_of(pod: Pod) -> str:
    """The constituent that it is an instance of."""
    return str(((pod.metadata and pod.metadata.labels) or {}).get(CONSTITUENT, ""))


def ended(kind: str, pod: Pod) -> str:
    """Why a pod serves nothing any more; empty when it does or will."""
    if kind == "DELETED" or (pod.metadata and pod.metadata.deletionTimestamp):
        return "its pod was deleted"
    phase = pod.status.phase if pod.status else None
    return f"its pod has {phase.lower()}" if phase in {"Failed", "Succeeded"} else ""


def ready(pod: Pod) -> bool:
    """Whether its readiness probe was answered."""
    conditions = (pod.status and pod.status.conditions) or []
    return any(c.type == "Ready" and c.status == "True" for c in conditions)


def endpoint_of(pod: Pod) -> str:
    """Where a pod listens: the first port of its containers, 80 where they name none."""
    containers = pod.spec.containers if pod.spec else []
    ports = [port.containerPort for one in containers for port in one.ports or ()]
    return f"http://{(pod.status and pod.status.podIP) or ''}:{ports[0] if ports else 80}"
