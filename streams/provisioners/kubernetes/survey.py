"""What would be written to a cluster: asked of its API server, which changes nothing."""

from __future__ import annotations

from streams.provisioners.kubernetes.cluster import (
    ApiServerError,
    KubernetesCluster,
    OwnedByAnother,
)
from streams.provisioners.kubernetes.deployment_scaler import DeploymentScaler
from streams.records.catalog import Catalog

__all__ = ["survey"]


async def survey(cluster: KubernetesCluster, catalog: Catalog) -> list[str]:
    """A line for each constituent; `cluster` is of a client that makes dry runs."""
    scaling = DeploymentScaler(cluster, lambda: catalog, lambda _: 0, lambda *_: None)
    await scaling.look()
    sets = await cluster.warm_sets()
    lines = []
    for service, constituent in sorted(catalog.constituents.items()):
        why = scaling.forbidden(service)
        if not why:
            warm = sets[service]
            try:
                await cluster.write(warm, warm.journal, constituent)
                await cluster.scale(warm, warm.replicas)
            except (OwnedByAnother, ApiServerError) as error:
                why = str(error)
            else:
                why = f"Deployment {warm.name}, {warm.replicas} pods, ours to scale"
        lines.append(f"{service}: {why}")
    return lines
