"""The provisioner whose instances are pods of Deployments."""

from __future__ import annotations

import functools
from collections.abc import Callable

from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.pool_provisioner import PoolProvisioner
from streams.provisioners.kubernetes.cluster import KubernetesCluster
from streams.provisioners.kubernetes.pod_lifecycle import PodLifecycle
from streams.records import Instance
from streams.records.catalog import Catalog

__all__ = ["KubernetesProvisioner"]


class KubernetesProvisioner(PoolProvisioner[PodLifecycle]):
    """Carries out the commands of one pool on Deployments; implements `Provisioner`.

    Pods outlive it: a successor adopts them and repeats no command. Pods are not forked from
    others, so a `base` is an ordinary Deployment, and no start waits for it.
    """

    def __init__(
        self,
        pool: str,
        catalog: Callable[[], Catalog],
        emit: Callable[[Instance], None],
        limits: ProvisionerLimits,
        *,
        cluster: KubernetesCluster,
    ) -> None:
        super().__init__(
            pool,
            catalog,
            emit,
            limits,
            functools.partial(PodLifecycle, cluster=cluster, catalog=catalog),
        )
