"""Brings Deployments to what is wanted of them, again and again until they are there."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable

from streams.provisioners.core.start_queue import WakeSignal
from streams.provisioners.kubernetes.cluster import (
    CONSTITUENT,
    ApiServerError,
    KubernetesCluster,
    OwnedByAnother,
    ScaleJournal,
    WarmDeployment,
)
from streams.records import Command
from streams.records.catalog import Catalog, Resources

__all__ = ["DeploymentScaler"]

logger = logging.getLogger(__name__)

_LOOK_S = 15.0  # Deployments, autoscalers, nodes and metrics are looked at so often
_AGAIN_S = 1.0  # pause when the API server is away
_REMEMBERED = 64  # commands kept with a Deployment


class DeploymentScaler:
    """The Deployments of a pool, and who else scales them.

    Parameters
    ----------
    cluster, catalog
        Where they are, and what their instances need.
    wanted
        How many instances of a constituent are wanted, now.
    refused
        Told of a constituent that cannot be scaled, and why.
    """

    def __init__(
        self,
        cluster: KubernetesCluster,
        catalog: Callable[[], Catalog],
        wanted: Callable[[str], int],
        refused: Callable[[str, str], None],
    ) -> None:
        self.room: Resources | None = None  # what the nodes have, once known
        self.measured: dict[str, Resources] = {}  # by pod
        self._cluster, self._catalog = cluster, catalog
        self._wanted, self._refused = wanted, refused
        self._sets: dict[str, WarmDeployment] = {}
        self._autoscalers: dict[str, str] = {}
        self._done: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self._reached: dict[str, ScaleJournal] = {}  # what was written last, and reached
        self._dirty: set[str] = set()  # constituents whose Deployment is not as wanted
        self._wake = WakeSignal()
        self._complained: set[str] = set()

    def recall(self) -> dict[str, int]:
        """What an earlier life wanted, by constituent."""
        for service, warm in self._sets.items():
            self._done[service].extend(warm.journal.commands)
            self.want(service)
        return {service: warm.journal.wanted for service, warm in self._sets.items()}

    def commands(self) -> frozenset[str]:
        """The commands that are part of what is wanted."""
        return frozenset(command for done in self._done.values() for command in done)

    def done(self, command: Command) -> None:
        """Note a command with its Deployment."""
        if command.service in self._sets:
            self._done[command.service].append(command.command_id)
            self.want(command.service)

    def want(self, service: str) -> None:
        """The number wanted has changed."""
        self._dirty.add(service)
        self._wake.now()

    def forbidden(self, service: str) -> str:
        """Why a constituent cannot be scaled; empty when it can."""
        warm = self._sets.get(service)
        if warm is None:
            return f"no Deployment of the pool is labelled {CONSTITUENT}={service}"
        other = self._autoscalers.get(warm.name)
        if other and not self._cluster.take_over:
            return (
                f"Deployment {warm.name} is scaled by HorizontalPodAutoscaler {other};"
                " run `foremesh keda` instead, or say --take-over"
            )
        return ""

    async def converge(self) -> None:
        """Work on it for ever."""
        while True:
            for service in sorted(self._dirty):
                self._dirty.discard(service)
                if not await self.tell(self._reach(service)):
                    self._dirty.add(service)
                    await asyncio.sleep(_AGAIN_S)
            if not self._dirty:
                await self._wake.wait(_LOOK_S)

    async def look_on(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.tell(self.look())
            for service, warm in self._sets.items():
                if warm.replicas != self._wanted(service):
                    self._reached.pop(service, None)  # somebody else has changed it
                    self.want(service)

    async def look(self) -> None:
        """See the Deployments and who scales them; nodes and metrics where we may."""
        self._sets = await self._cluster.warm_sets()
        self._autoscalers = await self._cluster.autoscalers()
        try:
            self.room = await self._cluster.room()
        except ApiServerError as error:
            self.complain("nodes: capacity is the catalogue's", error)
        try:
            self.measured = await self._cluster.measured()
        except ApiServerError as error:
            self.complain("metrics: use is what is reserved", error)

    async def tell(self, call: Awaitable[None]) -> bool:
        """Whether a call reached the API server; says once that it is away."""
        try:
            await call
        except ApiServerError as error:
            self.complain("the API server", error)
            return False
        self._complained.discard("the API server")
        return True

    def complain(self, what: str, error: Exception) -> None:
        """Say once that something is not to be had."""
        if what not in self._complained:
            self._complained.add(what)
            told = {"action": "kubernetes_away"}
            logger.warning("Kubernetes, %s: %s", what, error, extra=told)

    async def _reach(self, service: str) -> None:
        """Bring a Deployment to what is wanted: the journal first, then the scale."""
        warm = self._sets.get(service)
        if warm is None or self.forbidden(service):
            return
        wanted = self._wanted(service)
        journal = ScaleJournal(wanted, tuple(self._done[service]))
        if self._reached.get(service) == journal:
            return
        try:
            await self._cluster.write(warm, journal, self._catalog().constituents.get(service))
            await self._cluster.scale(warm, wanted)
            self._reached[service] = journal
        except OwnedByAnother as owned:
            self._refused(service, f"{owned}; leave it out there, or say --take-over")
