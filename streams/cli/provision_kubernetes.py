"""`foremesh provision --on kubernetes`: provision as the elected leader, or survey in a dry run."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streams.cli.console import echo
from streams.errors import ClusterUnreachable, ToolMissing
from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.provisioner_process import ProvisionerProcess
from streams.provisioners.core.topic_views import CatalogView
from streams.runtime.access import Listener
from streams.settings import Settings

try:
    from lightkube import AsyncClient
    from lightkube.exceptions import ConfigError

    from streams.provisioners.kubernetes.cluster import ApiServerError, KubernetesCluster
    from streams.provisioners.kubernetes.leader_election import LeaderElection
    from streams.provisioners.kubernetes.provisioner import KubernetesProvisioner
    from streams.provisioners.kubernetes.survey import survey
except ModuleNotFoundError as error:
    raise ToolMissing(f"{error.name} is missing: pip install 'foremesh[kubernetes]'") from error

__all__ = ["KubernetesTarget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesTarget:
    """The Deployments of a pool in a namespace, for `foremesh provision`."""

    pool: str
    namespace: str | None  # None: that of the kubeconfig context, or of our own pod
    take_over: bool

    def server(
        self, settings: Settings, at: Listener, limits: ProvisionerLimits
    ) -> Callable[[asyncio.Event], Awaitable[None]]:
        """Return a coroutine function that provisions while it holds the lease."""

        async def serve(stop: asyncio.Event) -> None:
            logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells of every request
            client = self._connect()
            process = ProvisionerProcess(
                settings,
                self.pool,
                limits,
                lambda *given: KubernetesProvisioner(*given, cluster=self._cluster()),
            )
            process.watch()
            election = LeaderElection(client, f"foremesh-{self.pool}", _identity())
            try:
                kept = await election.lead(lambda over: process.run(at, over), stop)
            except ApiServerError as error:
                raise ClusterUnreachable(f"The Kubernetes API server failed: {error}") from error
            finally:
                await client.close()
            if not kept:
                raise ClusterUnreachable(
                    "Another provisioner is the leader now: restart this one as a standby."
                )

        return serve

    async def survey(self, settings: Settings) -> None:
        """Print the Deployment of each constituent, or what prevents scaling it."""
        catalog = CatalogView(settings)
        await asyncio.to_thread(catalog.read)
        cluster = self._cluster(dry_run=True)
        try:
            for line in await survey(cluster, catalog.now):
                echo(line)
        except ApiServerError as error:
            raise ClusterUnreachable(f"The Kubernetes API server failed: {error}") from error
        finally:
            await cluster.close()
            catalog.close()

    def _cluster(self, *, dry_run: bool = False) -> KubernetesCluster:
        return KubernetesCluster(
            self._connect(dry_run=dry_run), self.pool, take_over=self.take_over
        )

    def _connect(self, *, dry_run: bool = False) -> AsyncClient:
        try:
            return AsyncClient(namespace=self.namespace, dry_run=dry_run)
        except ConfigError as error:
            raise ClusterUnreachable(f"No Kubernetes cluster is configured: {error}") from error


def _identity() -> str:
    """Return an identity that changes with each restart: host (or pod) name and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"
