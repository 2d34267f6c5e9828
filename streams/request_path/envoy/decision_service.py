"""The decision service: claims an exclusive instance for a request, in the path of it.

Envoy asks by HTTP (`ext_authz`) before it routes; the answer names the instance, or nothing: then
the request takes the standard path. A process of its own, since whatever blocks it for a moment
is latency of every request.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

import aiohttp
import grpc
from aiohttp import web
from envoy.service.accesslog.v3 import als_pb2_grpc

from streams.adapters import metrics
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, InstanceState
from streams.request_path.core.warm_pool import WarmPool
from streams.request_path.envoy.addresses import MeshAddresses, RoutePolicy
from streams.request_path.envoy.ext_authz import ExtAuthzChecks, ProtocolDispatcher
from streams.request_path.envoy.leases import LeaseTable
from streams.runtime.addresses import address
from streams.runtime.clock import wall_ms
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings

__all__ = ["DecisionService"]

logger = logging.getLogger(__name__)

_SWEEP_S = 0.5
_END_S = 1.0


class DecisionService:
    """Owns the exclusive instances of a pool.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    places, policy
        Where to listen; pool and deadline.
    queue
        Most requests that wait for one constituent.
    """

    def __init__(
        self, settings: Settings, places: MeshAddresses, policy: RoutePolicy, queue: int
    ) -> None:
        self._settings = settings
        self._places, self._policy = places, policy
        self._warm = WarmPool(settings, policy.pool, queue, observe=self._observe)
        self._withheld: dict[str, Instance] = {}
        self._leases = LeaseTable(self._warm.claims)
        self._life = uuid.uuid4().hex[:8]  # leases of an earlier life are none of ours
        self._numbers = itertools.count()
        self._checks = ExtAuthzChecks(self._warm.claims, self._leases, policy.deadline_ms)
        self._handlers: Mapping[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/lease": self._lease,
            "/release": self._release,
            "/healthz": self._healthz,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        metrics.serve(self._settings.metrics_port)
        async with aiohttp.ClientSession() as session:
            await self._warm.open(session)
            self._read_catalog()
            work = [*self._warm.work(self._read_catalog), every(_SWEEP_S, self._sweep)]
            told = grpc.aio.server()
            als_pb2_grpc.add_AccessLogServiceServicer_to_server(self._leases, told)
            told.add_insecure_port(self._places.leases)
            await told.start()
            try:
                await self._serve(lambda: first_to_end(work, stop))
            finally:
                await told.stop(_END_S)
                await self._warm.close()

    async def _serve(self, until: Callable[[], Awaitable[None]]) -> None:
        """Listen while `until` runs; what is being served then is finished."""
        others = web.Server(self._answer, access_log=None, handler_cancellation=True)
        host, port = address(self._places.decide)
        door = await asyncio.get_running_loop().create_server(
            lambda: ProtocolDispatcher(self._checks.answer, others), host, port
        )
        told = {"action": "open"}
        logger.info("The decision service listens on %s", self._places.decide, extra=told)
        try:
            await until()
        finally:
            door.close()
            await others.shutdown(self._policy.deadline_ms / 1000)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        handler = self._handlers.get(request.path)
        return await handler(request) if handler else web.Response(status=404)

    # ------------------------------------------------------------------ activator

    async def _lease(self, request: web.BaseRequest) -> web.Response:
        """Wait for an instance, for the activator: `{"service", "request_id", "deadline_ms"}`."""
        body = await request.json()
        service, deadline_ms = str(body["service"]), int(body["deadline_ms"])
        lease = self._warm.claims.take(service)
        warm = lease is not None
        try:
            lease = lease or await self._warm.standard.lease(
                service, str(body["request_id"]), deadline_ms
            )
        except StandardPathRefused as error:
            after = {"Retry-After": str(error.retry_after_s)}
            return web.json_response({"error": str(error)}, status=503, headers=after)
        key = f"{self._life}-{next(self._numbers)}"
        self._leases.hold(key, lease, deadline_ms)
        return web.json_response({"instance": asdict(lease.instance), "key": key, "warm": warm})

    async def _release(self, request: web.BaseRequest) -> web.Response:
        """Take a lease back: `{"key", "instance", "served_ms", "lost"}`."""
        told = await request.json()
        lost, served_ms = bool(told["lost"]), int(told["served_ms"])
        self._leases.end(told["key"], told["instance"], served_ms, lost=lost)
        return web.Response(status=204)

    async def _healthz(self, request: web.BaseRequest) -> web.Response:
        del request
        return web.json_response({"leases": len(self._leases)})

    # ------------------------------------------------------------------ in the background

    async def _sweep(self) -> None:
        now_ms = wall_ms()
        self._admit(now_ms)
        self._leases.sweep(now_ms)

    def _observe(self, instance: Instance) -> None:
        """Take news in; leave what was started for a request to that request, until it had it.

        We hear of our own ones from the provisioner; the others are the activator's, which did
        not hear of us for a moment.
        """
        name, claims = instance.instance_id, self._warm.claims
        fresh = instance.state is InstanceState.WARM and not instance.uses
        theirs = instance.command_id.startswith("standard/") and instance.pool == claims.pool
        if fresh and theirs and name not in claims.known(instance.service):
            self._withheld[name] = instance
        else:
            self._withheld.pop(name, None)
            claims.observe(instance)

    def _admit(self, now_ms: int) -> None:
        """Take what nobody came for."""
        for name, instance in list(self._withheld.items()):
            if instance.changed_ms + self._policy.deadline_ms < now_ms:
                del self._withheld[name]
                self._warm.claims.observe(instance)

    def _read_catalog(self) -> None:
        self._checks.read(self._warm.catalog)
