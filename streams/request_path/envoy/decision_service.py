"""The decision service: claims an exclusive instance for a request while Envoy routes it.

Envoy asks by HTTP (`ext_authz`) before it routes. The answer names the instance, or none: then the
request takes the standard path. It is a process of its own, because any pause of it delays every
request.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
from aiohttp import web
from msgspec.json import Decoder

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.metrics import endpoint
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, InstanceState
from streams.records.instances import ON_REQUEST
from streams.request_path.core.claims import InstanceClaims
from streams.request_path.core.retries import IDLE_TIMEOUT_S
from streams.request_path.core.warm_pool import WarmPool, open_warm_pool
from streams.request_path.envoy.access_log_messages import add_access_log_service
from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.ext_authz import CheckListener, ExtAuthzChecks
from streams.request_path.envoy.leases import LeaseTable
from streams.request_path.envoy.policy import RoutePolicy
from streams.runtime.access import Guard, Listener, loopback_only, processes_guard
from streams.runtime.clock import wall_ms
from streams.runtime.grpc_serving import grpc_server
from streams.runtime.json_body import (
    BodyRefused,
    JsonCount,
    JsonName,
    JsonTime,
    form_of,
    malformed,
)
from streams.runtime.serving import HTTP_LOG, binding, heard, impatient
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings

__all__ = ["DecisionService", "WithheldInstances", "serve_decisions"]

logger = logging.getLogger(__name__)

_SWEEP_S = 0.5
_STOP_S = 1.0


@dataclass(frozen=True, slots=True)
class LeaseAsked:
    """What an activator asks for."""

    service: JsonName
    request_id: JsonName
    deadline_ms: JsonTime
    priority: int = 0  # among those that wait: higher is served first


@dataclass(frozen=True, slots=True)
class LeaseEnd:
    """An activator gives an instance back."""

    key: JsonName
    instance: JsonName
    served_ms: JsonCount
    lost: bool
    unanswered: bool = False


_LEASE, _RELEASE = Decoder(LeaseAsked), Decoder(LeaseEnd)


async def serve_decisions(
    settings: Settings,
    addresses: MeshAddresses,
    policy: RoutePolicy,
    queue: int,
    stop: asyncio.Event,
) -> None:
    """Claim the exclusive instances of a pool for requests until `stop` is set.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    addresses, policy
        Where to listen; pool and deadline.
    queue
        Most requests that wait for one constituent.
    stop
        Ends the process; requests in flight are finished.
    """
    leases = loopback_only(addresses.leases, "decision service")
    at = loopback_only(addresses.decide, "decision service")
    listens = asyncio.Event()
    port, host = settings.metrics_port, settings.metrics_host
    endpoint.serve("mesh decide", port, host, ready=listens.is_set)
    broker = BrokerWatch(settings)
    broker.start()
    # Instances that owe an answer take a connection each, for long.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        open_warm_pool(settings, session, pool=policy.pool, queue=queue) as warm,
    ):
        service = DecisionService(warm, policy.deadline_ms, processes_guard(settings), broker)
        work = service.start()
        ended_requests = grpc_server()
        add_access_log_service(service.leases, ended_requests)
        with binding(leases, work):
            ended_requests.add_insecure_port(leases.address)
        await ended_requests.start()
        try:
            await _serve_http(service, at, policy.deadline_ms, work, stop, listens=listens)
        finally:
            await ended_requests.stop(_STOP_S)


async def _serve_http(
    service: DecisionService,
    at: Listener,
    drain_ms: int,
    work: Iterable[Awaitable[Any]],
    stop: asyncio.Event,
    *,
    listens: asyncio.Event,
) -> None:
    """Listen beside this work until `stop` is set; requests in flight are finished."""
    activators = web.Server(
        service.answer, access_log=None, logger=HTTP_LOG, handler_cancellation=True
    )
    with binding(at, work):
        server = await asyncio.get_running_loop().create_server(
            CheckListener(service.checks.answer, impatient(activators)), *at.place
        )
    listens.set()
    logger.info("The decision service listens on %s", at.address, extra={"action": "open"})
    try:
        await first_to_end(work, stop)
    finally:
        server.close()
        await activators.shutdown(drain_ms / 1000)


class DecisionService:
    """Owns the exclusive instances of a pool: answers Envoy's checks and the activator.

    Parameters
    ----------
    warm
        The pool's instances.
    deadline_ms
        Most that a request may take.
    guard
        What the activator must bring; Envoy's checks bring nothing.
    broker
        Whether Kafka answers, for health checks.
    """

    def __init__(self, warm: WarmPool, deadline_ms: int, guard: Guard, broker: BrokerWatch) -> None:
        self._warm = warm
        self._guard, self._broker = guard, broker
        self._withheld = WithheldInstances(warm.claims, deadline_ms)
        self.leases = LeaseTable(warm.claims, warm.unanswered.check)
        self.checks = ExtAuthzChecks(warm.claims, self.leases, deadline_ms)
        self._run_id = uuid.uuid4().hex[:8]  # keys of an earlier process must not match
        self._numbers = itertools.count()
        self._handlers: Mapping[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/lease": self._lease,
            "/release": self._release,
            "/healthz": self._healthz,
        }

    def start(self) -> list[Awaitable[Any]]:
        """Observe catalogue and instances read so far; returns the work to run meanwhile."""
        self.checks.set_catalog(self._warm.catalog)
        followed = self._warm.start(self._withheld.observe, self._set_catalog)
        return [*followed, every(_SWEEP_S, self._sweep)]

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer the activator, or a health check."""
        heard(request)
        if refused := self._guard.response(request):
            return refused
        handler = self._handlers.get(request.path)
        if handler is None:
            return web.Response(status=404)
        try:
            return await handler(request)
        except BodyRefused as error:
            return malformed(error)

    async def _lease(self, request: web.BaseRequest) -> web.Response:
        """Lease an instance."""
        asked = await form_of(request, _LEASE)
        claimed = self._warm.claims.claim(asked.service)
        warm = claimed is not None
        try:
            claimed = claimed or await self._warm.standard_path.claim(
                asked.service, asked.request_id, asked.deadline_ms, asked.priority
            )
        except StandardPathRefused as error:
            after = {"Retry-After": str(error.retry_after_s)}
            return web.json_response({"error": str(error)}, status=503, headers=after)
        key = f"{self._run_id}-{next(self._numbers)}"
        self.leases.add(key, claimed, asked.deadline_ms)
        return web.json_response({"instance": asdict(claimed.instance), "key": key, "warm": warm})

    async def _release(self, request: web.BaseRequest) -> web.Response:
        """Release a lease."""
        done = await form_of(request, _RELEASE)
        self.leases.release(
            done.key, done.instance, done.served_ms, lost=done.lost, unanswered=done.unanswered
        )
        return web.Response(status=204)

    async def _healthz(self, request: web.BaseRequest) -> web.Response:
        del request
        health = {"leases": len(self.leases), "kafka": int(not self._broker.away)}
        return web.json_response(health)

    async def _sweep(self) -> None:
        now_ms = wall_ms()
        self._withheld.expire(now_ms)
        self.leases.expire(now_ms)

    async def _set_catalog(self) -> None:
        self.checks.set_catalog(self._warm.catalog)


class WithheldInstances:
    """Instances that an activator had started for a request, withheld until it has used them.

    The decision service learns of its own starts from the provisioner. Others are the activator's,
    from while the decision service was unavailable to it.

    Parameters
    ----------
    claims
        Observes instances that are not withheld, or not any more.
    deadline_ms
        Most that a request may take: after it an instance is not withheld any longer.
    """

    def __init__(self, claims: InstanceClaims, deadline_ms: int) -> None:
        self._claims = claims
        self._deadline_ms = deadline_ms
        self._withheld: dict[str, Instance] = {}

    def observe(self, instance: Instance) -> None:
        """Record a change of an instance."""
        name, claims = instance.instance_id, self._claims
        unused = instance.state is InstanceState.WARM and not instance.uses
        standard = instance.command_id.startswith(ON_REQUEST) and instance.pool == claims.pool
        if unused and standard and name not in claims.known(instance.service):
            self._withheld[name] = instance
        else:
            self._withheld.pop(name, None)
            claims.observe(instance)

    def expire(self, now_ms: int) -> None:
        """Hand over instances whose request must have ended without using them."""
        for name, instance in list(self._withheld.items()):
            if instance.changed_ms + self._deadline_ms < now_ms:
                del self._withheld[name]
                self._claims.observe(instance)
