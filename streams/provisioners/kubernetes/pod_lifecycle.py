"""The lifecycle of instances that are pods of scaled Deployments."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence

from lightkube.resources.core_v1 import Pod

from streams.provisioners.core.interface import ProvisionerLimits
from streams.provisioners.core.ledger import HeldInstance, InstanceLedger
from streams.provisioners.core.lifecycle import InstanceLifecycle, StartFailed
from streams.provisioners.core.start_queue import StartBackoff
from streams.provisioners.kubernetes.cluster import KubernetesCluster
from streams.provisioners.kubernetes.deployment_scaler import DeploymentScaler
from streams.provisioners.kubernetes.pod_status import (
    ended,
    endpoint_of,
    name_of,
    obstacle_of,
    ready,
    service_of,
)
from streams.records import Command, Instance, InstanceState
from streams.records.catalog import Catalog, Resources
from streams.runtime.clock import wall_ms
from streams.runtime.wake_signal import WakeSignal

__all__ = ["PodLifecycle"]

_CHEAP = -1_000  # deletion cost of the pods to delete first


class PodLifecycle(InstanceLifecycle):
    """Each instance is a pod; pods outlive the provisioner and are adopted by its successor.

    The wanted number of pods of a constituent is that of its instances whose start has begun and
    that are not being ended. The Deployment is scaled to it whenever it changes. An instance is
    bound to its pod when the pod appears.
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
        self.scaler = DeploymentScaler(cluster, catalog, self._wanted, self._fail_expected)
        self._pods: dict[str, HeldInstance] = {}
        # Instances whose start has begun and that have no pod yet.
        self._expected: dict[str, deque[HeldInstance]] = defaultdict(deque)
        self._leaving: set[HeldInstance] = set()
        self._spare: dict[str, Pod] = {}  # pods that appeared though no start waited for one
        self._obstacles: dict[HeldInstance, str] = {}  # what keeps its pod from being ready

    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        """Adopt the existing pods and the starts that a predecessor had begun."""
        await self.scaler.open()
        pods, version = await self._cluster.pods.listed()
        records = {one.instance_id: one for one in known}
        for pod in pods:
            self._adopt(pod, records.get(name_of(pod)))
        for service, wanted in self.scaler.recall().items():
            self._expect(service, wanted)
        failed = functools.partial(self.scaler.report_outage, "watch of pods")
        follow = self._cluster.pods.follow(version, self._see, self._reconcile, failed)
        for work in (
            follow,
            self.scaler.follow(),
            self.scaler.converge(),
            self.scaler.observe_forever(),
            self.scaler.prepare_forever(),
        ):
            self._spawn(work, vital=True)
        return self.scaler.commands()

    async def start(self, held: HeldInstance) -> None:
        """Scale up by one pod; returns when it is ready or has failed."""
        if self._discard_if_late(held):
            return
        service = held.instance.service
        if reason := self.scaler.obstacle(service):
            self._mark_gone(held, f"crashed: {reason}")
            return
        self._expected[service].append(held)
        self._bind_spare(service)
        self.scaler.want(service)
        await self._await_ready(held)

    async def _await_ready(self, held: HeldInstance) -> None:
        """Wait until a start has come to its end; one that takes too long is ended."""
        try:
            async with asyncio.timeout(self._limits.start_ms / 1000):
                await asyncio.shield(held.ready)
        except StartFailed:
            pass
        except TimeoutError:
            held.end_reason = held.end_reason or self._too_late(held)
            await self.stop(held)

    def _too_late(self, held: HeldInstance) -> str:
        why = self._obstacles.get(held, "")
        return f"crashed: its pod was not ready in time{': ' if why else ''}{why}"

    async def stop(self, held: HeldInstance) -> None:
        """Scale down by one pod, after marking this one as the cheapest to delete."""
        service, name = held.instance.service, held.instance.instance_id
        if name in self._pods:
            await self.scaler.tell(self._cluster.set_deletion_cost(name, _CHEAP))
        if name in self._pods:  # it may have ended by itself, now or before
            self._leaving.add(held)
        else:
            with contextlib.suppress(ValueError):
                self._expected[service].remove(held)
            self._mark_gone(held, held.end_reason)
        self.scaler.want(service)

    def _wanted(self, service: str) -> int:
        started = (h for h in self._ledger if h.instance.service == service and h.start_begun)
        return sum(held not in self._leaving for held in started)

    def _fail_expected(self, service: str, why: str) -> None:
        """Fail the starts that wait for pods: the Deployment cannot be scaled."""
        while self._expected[service]:
            self._mark_gone(self._expected[service].popleft(), f"crashed: {why}")
            self.scaler.want(service)

    async def close(self) -> None:
        """Stop watching and scaling; the pods stay."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._cluster.close()

    def record_done(self, command: Command) -> None:
        """Add a command to the journal of its Deployment."""
        self.scaler.record_done(command)

    def measure(self, now_ms: int) -> Mapping[HeldInstance, Resources]:
        """Return the last use that the metrics server reported."""
        del now_ms
        measured = self.scaler.measured
        return {held: measured.get(name, Resources()) for name, held in self._pods.items()}

    def capacity(self, declared: Resources) -> Resources:
        """Return at most what the nodes can allocate; they declare no bandwidth."""
        allocatable = self.scaler.allocatable
        if allocatable is None:
            return declared
        return Resources(
            cpu=min(declared.cpu, allocatable.cpu),
            memory=min(declared.memory, allocatable.memory),
            bandwidth=declared.bandwidth,
        )

    # ------------------------------------------------------------------ pods

    def _reconcile(self, pods: Sequence[Pod]) -> None:
        """Catch up with what changed while nothing was watched."""
        present = {name_of(pod) for pod in pods}
        self._spare = {name: pod for name, pod in self._spare.items() if name in present}
        for pod in pods:
            self._see("MODIFIED", pod)
        for name in [name for name in self._pods if name not in present]:
            self._lost(self._pods[name], "its pod was deleted")

    def _see(self, kind: str, pod: Pod) -> None:
        """Apply an event of the watch."""
        held = self._pods.get(name_of(pod))
        why = ended(kind, pod)
        if held is None and not why and (expected := self._expected[service_of(pod)]):
            held = self._bind(expected.popleft(), pod)
        if held is None:
            self._note_spare(pod, why)
        elif why:
            self._lost(held, why)
        elif ready(pod):
            self._pod_ready(held, pod)
        else:
            self._pod_unready(held, obstacle_of(pod))

    def _note_spare(self, pod: Pod, ended: str) -> None:
        """Remember a pod that nobody waits for: it is to go, unless a start comes first."""
        if ended:
            self._spare.pop(name_of(pod), None)
        else:
            self._spare[name_of(pod)] = pod

    def _bind_spare(self, service: str) -> None:
        for pod in [pod for pod in self._spare.values() if service_of(pod) == service]:
            if self._expected[service]:
                self._see("ADDED", self._spare.pop(name_of(pod)))

    def _bind(self, held: HeldInstance, pod: Pod) -> HeldInstance:
        self._ledger.rename(held, name_of(pod))
        self._pods[name_of(pod)] = held
        self._ledger.change_state(held, InstanceState.STARTING, wall_ms())
        return held

    def _pod_ready(self, held: HeldInstance, pod: Pod) -> None:
        self._obstacles.pop(held, None)
        if held.instance.state is not InstanceState.STARTING or held.end_reason:
            return
        if held.ready.done():  # its readiness probe had failed in between
            now_ms = wall_ms()
            self._ledger.change_state(
                held, InstanceState.WARM, now_ms, warm_since_ms=now_ms, reason=""
            )
        else:
            self._mark_warm(held, endpoint=endpoint_of(pod))

    def _pod_unready(self, held: HeldInstance, why: str) -> None:
        self._obstacles[held] = why
        if held.live:
            reason = f"not ready: {why}" if why else "not ready"
            self._ledger.change_state(
                held, InstanceState.STARTING, wall_ms(), warm_since_ms=None, reason=reason
            )
            self._spawn(self._await_recovery(held))

    async def _await_recovery(self, held: HeldInstance) -> None:
        """Give a pod that was warm as long to be ready again as a start has, then end it."""
        unready = held.instance
        await asyncio.sleep(self._limits.start_ms / 1000)
        if held.instance is unready and not held.end_reason:  # nothing became of it meanwhile
            why = self._obstacles[held]
            lasted = f"not ready for {self._limits.start_ms / 1000:.0f} s"
            self.end(held, f"{lasted}: {why}" if why else lasted)

    def _lost(self, held: HeldInstance, why: str) -> None:
        """A pod ended; if a different one was to be deleted that is ready, it is kept instead."""
        service = held.instance.service
        del self._pods[held.instance.instance_id]
        leaving = (one for one in self._leaving if one.instance.service == service)
        serving = [one for one in leaving if one.ready.done() and one not in self._obstacles]
        if not held.end_reason and serving:
            self._keep(serving[0])
        self._leaving.discard(held)
        self._obstacles.pop(held, None)
        self._mark_gone(held, held.end_reason or f"crashed: {why}")
        self.scaler.want(service)

    def _keep(self, held: HeldInstance) -> None:
        self._leaving.discard(held)
        held.end_reason, held.lost_ms = "", 0  # gateways routed nothing to what was to end
        now_ms, why = wall_ms(), "another pod was deleted instead"
        since_ms = held.instance.warm_since_ms or now_ms  # it may not have been ready meanwhile
        self._ledger.change_state(
            held, InstanceState.WARM, now_ms, warm_since_ms=since_ms, reason=why
        )
        self._spawn(self._reset_deletion_cost(held.instance.instance_id))

    async def _reset_deletion_cost(self, pod: str) -> None:
        await self.scaler.tell(self._cluster.set_deletion_cost(pod, 0))

    # ------------------------------------------------------------------ adoption

    def _adopt(self, pod: Pod, record: Instance | None) -> None:
        """Take over a pod of a predecessor: warm as recorded, or as a start in progress."""
        constituent = self._catalog().constituents.get(service_of(pod))
        if constituent is None or ended("", pod):
            return
        now_ms = wall_ms()
        if record is None or record.warm_since_ms is None or not ready(pod):
            cause = record.command_id if record else "adopted"
            held = self._ledger.add(constituent, cause, now_ms, "adopted: its pod was running")
            held.start_begun = True
            self._expected[held.instance.service].append(held)
            self._see("ADDED", pod)
            self._spawn(self._await_ready(held))
        else:
            held = self._pods[name_of(pod)] = self._ledger.adopt(constituent, record, now_ms)
            if record.state is InstanceState.DRAINING:  # its predecessor did not come to the end
                self.end(held, record.reason)

    def _expect(self, service: str, wanted: int) -> None:
        """Wait for pods that a predecessor requested and that have not appeared yet."""
        constituent = self._catalog().constituents.get(service)
        for _ in range(wanted - self._wanted(service) if constituent else 0):
            assert constituent
            held = self._ledger.add(
                constituent, "adopted", wall_ms(), "adopted: its pod was requested"
            )
            held.start_begun = True
            self._expected[service].append(held)
            self._spawn(self._await_ready(held))
