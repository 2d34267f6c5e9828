"""A dry run against the API server: which Deployments could be scaled, and what prevents others."""

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
    """Return a line for each constituent; the client of `cluster` must make dry runs."""
    scaler = DeploymentScaler(cluster, lambda: catalog, lambda _: 0, lambda *_: None)
    await scaler.open()
    lines = []
    for service, constituent in sorted(catalog.constituents.items()):
        why = scaler.obstacle(service)
        if not why:
            warm = scaler.deployments[service]
            try:
                await cluster.write(warm, warm.journal, constituent)
                await cluster.scale(warm, warm.replicas)
            except (OwnedByAnother, ApiServerError) as error:
                why = str(error)
            else:
                why = f"Deployment {warm.name}, {warm.replicas} pods, ours to scale"
        lines.append(f"{service}: {why}")
    return lines
