"""Instances as pods of Deployments that are scaled to what is wanted."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence

from lightkube.resources.core_v1 import Pod

from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.provisioners.core.lifecycle import InstanceLifecycle, StartFailed
from streams.provisioners.core.start_queue import StartBackoff, WakeSignal
from streams.provisioners.kubernetes.cluster import ApiServerError, KubernetesCluster
from streams.provisioners.kubernetes.deployment_scaler import DeploymentScaler
from streams.provisioners.kubernetes.pod_status import (
    ended,
    endpoint_of,
    name_of,
    ready,
    service_of,
)
from streams.records import Command, Instance, InstanceState
from streams.records.catalog import Catalog, Resources
from streams.runtime.clock import wall_ms

__all__ = ["PodLifecycle"]

_AGAIN_S = 1.0  # pause when the API server is away
_CHEAP = -1_000


class PodLifecycle(InstanceLifecycle):
    """Each instance is a pod; pods outlive the provisioner, and its successor takes them over.

    Wanted of a constituent are all instances that were begun and are not to be ended. That number
    is written to the Deployment whenever it changed, and again until it is there; which pod an
    instance is, is known when the pod appears.
    """

    def __init__(
        self,
        ledger: InstanceLedger,
        limits: ProvisionerLimits,
        backoff: StartBackoff,
        freed: WakeSignal,
        *,
        cluster: KubernetesCluster,
        catalog: Callable[[], Catalog],
    ) -> None:
        super().__init__(ledger, limits, backoff, freed)
        self._cluster, self._catalog = cluster, catalog
        self.scaling = DeploymentScaler(cluster, catalog, self._wanted, self._refused)
        self._pods: dict[str, HeldInstance] = {}
        self._expected: dict[str, deque[HeldInstance]] = defaultdict(
            deque
        )  # begun, without a pod yet
        self._leaving: set[HeldInstance] = set()

    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        """Take over the pods that there are and the starts that were under way."""
        await self.scaling.look()
        pods, version = await self._cluster.pods()
        records = {one.instance_id: one for one in known}
        for pod in pods:
            self._adopt(pod, records)
        for service, wanted in self.scaling.recall().items():
            self._expect_again(service, wanted)
        self._spawn(self._follow(version))
        self._spawn(self.scaling.converge())
        self._spawn(self.scaling.look_on())
        return self.scaling.commands()

    async def start(self, held: HeldInstance) -> None:
        """Ask for one more pod; returns when it is ready or has failed."""
        if self._too_late(held):
            return
        service = held.instance.service
        if reason := self.scaling.forbidden(service):
            self._gone(held, f"crashed: {reason}")
            return
        self._expected[service].append(held)
        self.scaling.want(service)
        try:
            async with asyncio.timeout(self._limits.start_ms / 1000):
                await asyncio.shield(held.ready)
        except StartFailed:
            pass
        except TimeoutError:
            held.ending = held.ending or "crashed: its pod was not ready in time"
            await self.stop(held)

    async def stop(self, held: HeldInstance) -> None:
        """Want one pod less, and let it be this one's."""
        service = held.instance.service
        if held in self._expected[service]:
            self._expected[service].remove(held)
            self._gone(held, held.ending)
        else:
            await self.scaling.tell(self._cluster.prefer_to_end(held.instance.instance_id, _CHEAP))
            self._leaving.add(held)
        self.scaling.want(service)

    def _wanted(self, service: str) -> int:
        begun = (h for h in self._ledger if h.instance.service == service and h.begun)
        return sum(held not in self._leaving for held in begun)

    def _refused(self, service: str, why: str) -> None:
        """Nobody will make the pods that were asked for."""
        while self._expected[service]:
            self._gone(self._expected[service].popleft(), f"crashed: {why}")

    async def close(self) -> None:
        """Leave the pods as they are."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._cluster.close()

    def done(self, command: Command) -> None:
        """Note a command with its Deployment."""
        self.scaling.done(command)

    def measure(self, now_ms: int) -> None:
        """Take what the metrics server said last."""
        del now_ms
        for name, held in self._pods.items():
            held.measured = self.scaling.measured.get(name, Resources())

    def capacity(self, declared: Resources) -> Resources:
        """No more than the nodes have; bandwidth is the catalogue's to say."""
        if self.scaling.room is None:
            return declared
        return Resources(
            cpu=min(declared.cpu, self.scaling.room.cpu),
            memory=min(declared.memory, self.scaling.room.memory),
            bandwidth=declared.bandwidth,
        )

    # ------------------------------------------------------------------ what is there

    async def _follow(self, version: str) -> None:
        while True:
            try:
                async for kind, pod in self._cluster.changes(version):
                    self._see(kind, pod)
            except ApiServerError as error:
                self.scaling.complain("the watch of pods", error)
            await asyncio.sleep(_AGAIN_S)
            if await self.scaling.tell(self._list_again()):
                version = self._version

    async def _list_again(self) -> None:
        pods, self._version = await self._cluster.pods()
        there = {name_of(pod) for pod in pods}
        for pod in pods:
            self._see("MODIFIED", pod)
        for name in [name for name in self._pods if name not in there]:
            self._lost(self._pods[name], "its pod was deleted")

    def _see(self, kind: str, pod: Pod) -> None:
        held = self._pods.get(name_of(pod))
        why = ended(kind, pod)
        if held is None and not why and (expected := self._expected[service_of(pod)]):
            held = self._bind(expected.popleft(), pod)
        if held is None:
            return
        if why:
            self._lost(held, why)
        elif ready(pod):
            self._serve(held, pod)
        elif held.live:
            self._ledger.enter(
                held, InstanceState.STARTING, wall_ms(), warm_since_ms=None, reason="not ready"
            )

    def _bind(self, held: HeldInstance, pod: Pod) -> HeldInstance:
        self._ledger.rename(held, name_of(pod))
        self._pods[name_of(pod)] = held
        self._ledger.enter(held, InstanceState.STARTING, wall_ms())
        return held

    def _serve(self, held: HeldInstance, pod: Pod) -> None:
        if held.instance.state is not InstanceState.STARTING or held.ending:
            return
        if held.ready.done():  # it was ready before
            now_ms = wall_ms()
            self._ledger.enter(held, InstanceState.WARM, now_ms, warm_since_ms=now_ms, reason="")
        else:
            self._warm(held, endpoint=endpoint_of(pod))

    def _lost(self, held: HeldInstance, why: str) -> None:
        """A pod ended. Where another was meant, that one serves on instead."""
        service = held.instance.service
        del self._pods[held.instance.instance_id]
        spared = [one for one in self._leaving if one.instance.service == service]
        if not held.ending and spared:
            self._spare(spared[0])
        self._leaving.discard(held)
        self._gone(held, held.ending or f"crashed: {why}")
        self.scaling.want(service)

    def _spare(self, held: HeldInstance) -> None:
        self._leaving.discard(held)
        held.ending = ""
        self._ledger.enter(held, InstanceState.WARM, wall_ms(), reason="another pod was ended")
        name = held.instance.instance_id
        self._spawn(self._quietly(self._cluster.prefer_to_end(name, 0)))

    async def _quietly(self, call: Awaitable[None]) -> None:
        await self.scaling.tell(call)

    # ------------------------------------------------------------------ an earlier life

    def _adopt(self, pod: Pod, records: dict[str, Instance]) -> None:
        constituent = self._catalog().constituents.get(service_of(pod))
        if constituent is None or ended("", pod):
            return
        now_ms = wall_ms()
        name = name_of(pod)
        record = records.get(name)
        warm = ready(pod)
        if record is None or record.warm_since_ms is None or not warm:
            cause = record.command_id if record else "adopted"
            held = self._ledger.add(constituent, cause, now_ms, "was there before")
            held.begun = True
            self._expected[held.instance.service].append(held)
            self._see("ADDED", pod)
        else:
            self._pods[name] = self._ledger.adopt(constituent, record, now_ms)

    def _expect_again(self, service: str, wanted: int) -> None:
        """Wait for the pods that were wanted and are not there yet."""
        constituent = self._catalog().constituents.get(service)
        for _ in range(wanted - self._wanted(service) if constituent else 0):
            assert constituent
            held = self._ledger.add(constituent, "adopted", wall_ms(), "was wanted before")
            held.begun = True
            self._expected[service].append(held)
