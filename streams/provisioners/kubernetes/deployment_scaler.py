"""Scales Deployments to the wanted number of pods, and retries until they have it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from lightkube.resources.apps_v1 import Deployment

from streams.provisioners.kubernetes.cluster import (
    CONSTITUENT,
    ApiServerError,
    KubernetesCluster,
    OwnedByAnother,
    WarmDeployment,
    code_of,
    lacks_requests,
)
from streams.provisioners.kubernetes.scale_journal import ScaleJournal
from streams.records import Command
from streams.records.catalog import Catalog, Resources

__all__ = ["DeploymentScaler"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_OBSERVE_S = 15.0  # interval of reading autoscalers, nodes and metrics
_RETRY_S = 1.0  # pause while the API server does not answer
_JOURNAL_COMMANDS = 64  # most in the journal of a Deployment
_AT_ONCE = 8  # Deployments that are scaled at once


class DeploymentScaler:
    """The Deployments of a pool as last observed, and their scale.

    Parameters
    ----------
    cluster, catalog
        The API server; the current catalogue, for what instances need.
    wanted
        Returns the wanted number of instances of a constituent.
    refused
        Called with a constituent that cannot be scaled, and the reason.
    """

    def __init__(
        self,
        cluster: KubernetesCluster,
        catalog: Callable[[], Catalog],
        wanted: Callable[[str], int],
        refused: Callable[[str, str], None],
    ) -> None:
        self._version = ""  # of the list of Deployments
        self.allocatable: Resources | None = None  # by the nodes; None until known
        self.measured: dict[str, Resources] = {}  # by pod
        self._cluster, self._catalog = cluster, catalog
        self._wanted, self._refused = wanted, refused
        self.deployments: dict[str, WarmDeployment] = {}  # by constituent
        self._autoscalers: dict[str, str] = {}
        self._commands: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_JOURNAL_COMMANDS))
        self._applied: dict[str, ScaleJournal] = {}  # journal as last applied
        self._dirty: set[str] = set()  # constituents whose Deployment must be scaled
        self._queue: asyncio.Queue[str] = asyncio.Queue()  # the same, in order
        self._scaling: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._unpreparable: set[str] = set()  # what would set their requests is refused
        self._outages: set[str] = set()  # logged already

    async def open(self) -> None:
        """Read all that `observe` and `follow` will keep up to date."""
        found, self._version = await self._cluster.deployments.listed()
        self._replace(found)
        await self.observe()

    async def follow(self) -> None:
        """Watch the Deployments, for ever."""
        failed = functools.partial(self.report_outage, "watch of Deployments")
        await self._cluster.deployments.follow(self._version, self._see, self._replace, failed)

    def _replace(self, found: Sequence[Deployment]) -> None:
        deployments = map(WarmDeployment.of, found)
        self.deployments = {one.service: one for one in deployments}

    def _see(self, change: str, one: Deployment) -> None:
        warm = WarmDeployment.of(one)
        if change == "DELETED":
            known = self.deployments.get(warm.service)
            if known and known.name == warm.name:  # and not another one for the same constituent
                del self.deployments[warm.service]
            return
        self.deployments[warm.service] = warm
        if warm.failure:
            self._refused(warm.service, f"Kubernetes made no pod: {warm.failure}")

    def recall(self) -> dict[str, int]:
        """Load the journals of a predecessor; returns its wanted numbers, by constituent."""
        for service, warm in self.deployments.items():
            self._commands[service].extend(warm.journal.commands)
            if warm.replicas == warm.journal.wanted:
                self._applied[service] = warm.journal  # of thousands, nothing is to be written
            self.want(service)
        return {service: warm.journal.wanted for service, warm in self.deployments.items()}

    def commands(self) -> frozenset[str]:
        """Return the ids of the commands in all journals."""
        return frozenset(command for ids in self._commands.values() for command in ids)

    def record_done(self, command: Command) -> None:
        """Add a command to the journal of its Deployment."""
        if command.service in self.deployments:
            self._commands[command.service].append(command.command_id)
            self.want(command.service)

    def want(self, service: str) -> None:
        """Scale a constituent's Deployment: its wanted number has changed."""
        if service not in self._dirty:
            self._dirty.add(service)
            self._queue.put_nowait(service)

    def obstacle(self, service: str) -> str:
        """Return what keeps a constituent from being scaled; empty for nothing."""
        warm = self.deployments.get(service)
        if warm is None:
            return f"no Deployment of the pool is labelled {CONSTITUENT}={service}"
        other = self._autoscalers.get(warm.name)
        if other and not self._cluster.take_over:
            return (
                f"Deployment {warm.name} is scaled by HorizontalPodAutoscaler {other};"
                " run `foremesh keda` instead, or pass --take-over"
            )
        return ""

    async def converge(self) -> None:
        """Scale Deployments that need it, several at once and each in its turn, for ever."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(_AT_ONCE):
                workers.create_task(self._converge_in_turn())

    async def _converge_in_turn(self) -> None:
        while True:
            service = await self._queue.get()
            async with self._scaling[service]:
                self._dirty.discard(service)
                done = await self.tell(self._scale(service))
            if not done:  # the others need not wait for it
                asyncio.get_running_loop().call_later(_RETRY_S, self.want, service)

    async def observe_forever(self) -> None:
        """Observe at intervals; scale again what others have changed."""
        while True:
            await asyncio.sleep(_OBSERVE_S)
            await self.tell(self.observe())
            for service, warm in self.deployments.items():
                if warm.replicas != self._wanted(service):
                    self._applied.pop(service, None)  # changed by another
                    self.want(service)

    async def prepare_forever(self) -> None:
        """Give Deployments without pods the requests of the catalogue, one after the other.

        With its requests a Deployment gets a new ReplicaSet: a command that scales it need not wait
        for that.
        """
        while True:
            for service in [one for one in self.deployments if self._is_unprepared(one)]:
                async with self._scaling[service]:
                    if not await self.tell(self._prepare(service)):
                        break
            await asyncio.sleep(_OBSERVE_S)

    def _is_unprepared(self, service: str) -> bool:
        warm = self.deployments.get(service)
        if warm is None or warm.replicas or self._wanted(service) or self.obstacle(service):
            return False
        constituent = self._catalog().constituents.get(service)
        return service not in self._unpreparable and lacks_requests(warm, constituent)

    async def _prepare(self, service: str) -> None:
        if not self._is_unprepared(service):
            return
        journal = ScaleJournal(0, tuple(self._commands[service]))
        constituent = self._catalog().constituents.get(service)
        try:
            await self._cluster.write(self.deployments[service], journal, constituent)
        except OwnedByAnother:
            self._unpreparable.add(service)  # a command will tell
        except ApiServerError as error:
            if not 400 <= code_of(error) < 500:
                raise
            self._unpreparable.add(service)  # refused, as the others may not be

    async def observe(self) -> None:
        """Read autoscalers; also nodes and metrics, where that is allowed."""
        self._autoscalers = await self._cluster.autoscalers()
        try:
            self.allocatable = await self._cluster.allocatable()
        except ApiServerError as error:
            self.report_outage("nodes; the capacity is that of the catalogue", error)
        try:
            self.measured = await self._cluster.measured()
        except ApiServerError as error:
            self.report_outage("pod metrics; reservations count as use", error)

    async def ask(self, call: Awaitable[T]) -> T | None:
        """Return the result of a call; None, and an outage is logged, when the call failed."""
        try:
            result = await call
        except ApiServerError as error:
            self.report_outage("requests", error)
            return None
        self._outages.discard("requests")
        return result

    async def tell(self, call: Awaitable[None]) -> bool:
        """Make a call without a result, as `ask` does; whether it succeeded."""

        async def succeeded() -> bool:
            await call
            return True

        return bool(await self.ask(succeeded()))

    def report_outage(self, what: str, error: Exception) -> None:
        """Log that a part of the API is unavailable: once, or for `ask` once until it succeeds."""
        if what not in self._outages:
            self._outages.add(what)
            extra = {"action": "kubernetes_away"}
            logger.warning("Kubernetes API unavailable (%s): %s", what, error, extra=extra)

    async def _scale(self, service: str) -> None:
        """Write the journal of a Deployment, then its scale, unless both are as wanted."""
        warm = self.deployments.get(service)
        if warm is None or self.obstacle(service):
            return
        wanted = self._wanted(service)
        journal = ScaleJournal(wanted, tuple(self._commands[service]))
        if self._applied.get(service) == journal:
            return
        try:
            await self._cluster.write(warm, journal, self._catalog().constituents.get(service))
            await self._cluster.scale(warm, wanted)
            self._applied[service] = journal
        except OwnedByAnother as error:
            why = (
                f"{error}; remove the field from the manifest of that manager, or pass --take-over"
            )
            self._refused(service, why)
