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
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from streams.adapters import metrics
from streams.gateway.app import serving
from streams.gateway.claims import Lease
from streams.gateway.warm_set import WarmSet, every, first_to_end
from streams.mesh.clusters import DESTINATION, leased
from streams.mesh.listeners import COMPOSITE_CHECK, CONSTITUENT_CHECK, LEASE
from streams.mesh.places import Policy
from streams.mesh.routes import only_part
from streams.provisioners.base import Refused, wall_ms
from streams.settings import Settings

__all__ = ["Decider"]

logger = logging.getLogger(__name__)

_SWEEP_S = 0.5
_LATE_MS = 1_000  # after a request's deadline its lease ends, whether or not its end was heard of
_DOUBT_S = 1.0  # an instance that Envoy did not reach is not given again for so long


class Decider:
    """Owns the exclusive instances of a pool.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    policy
        Pool and deadline.
    queue
        Most requests that wait for one constituent.
    """

    def __init__(self, settings: Settings, policy: Policy, queue: int) -> None:
        self._settings = settings
        self._deadline_ms = policy.deadline_ms
        self._warm = WarmSet(settings, policy.pool, queue)
        self._held: dict[str, tuple[Lease, int]] = {}  # token -> lease, and when it ends
        self._life = uuid.uuid4().hex[:8]  # leases of an earlier life are none of ours
        self._numbers = itertools.count()
        self._asked_for: dict[str, dict[str, str]] = {}  # check -> path segment -> constituent
        self._handlers: Mapping[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/lease": self._lease,
            "/release": self._release,
            "/healthz": self._healthz,
        }

    async def run(self, listen: str, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        metrics.serve(self._settings.metrics_port)
        async with aiohttp.ClientSession() as session:
            await self._warm.open(session)
            self._read_catalog()
            work = [*self._warm.work(self._read_catalog), every(_SWEEP_S, self._sweep)]
            # Without routing: the check is asked for by every request.
            server = web.Server(self._answer, access_log=None, handler_cancellation=True)
            runner = web.ServerRunner(server)
            await serving(runner, listen, "decision service", lambda: first_to_end(work, stop))
            await self._warm.close()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.rel_url.raw_path
        check, _, segment = path[1:].partition("/")
        names = self._asked_for.get(f"/{check}")
        if names is None:
            handler = self._handlers.get(path)
            return await handler(request) if handler else web.Response(status=404)
        service = names.get(segment.partition("/")[0])
        lease = self._warm.claims.take(service) if service else None
        if lease is None:
            return web.Response()
        token = self._hold(lease, wall_ms() + self._deadline_ms)
        where = lease.instance.endpoint.removeprefix("http://").rstrip("/")
        return web.Response(headers={DESTINATION: where, LEASE: token})

    def _hold(self, lease: Lease, deadline_ms: int) -> str:
        token = f"{self._life}-{next(self._numbers)}"
        self._held[token] = lease, deadline_ms + _LATE_MS
        return token

    # ------------------------------------------------------------------ activator, access log

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
        except Refused as error:
            after = {"Retry-After": str(error.retry_after_s)}
            return web.json_response({"error": str(error)}, status=503, headers=after)
        token = self._hold(lease, deadline_ms)
        return web.json_response({"instance": asdict(lease.instance), "token": token, "warm": warm})

    async def _release(self, request: web.BaseRequest) -> web.Response:
        """Take leases back: `{"released": [{"token", "instance", "served_ms"}]}`."""
        for told in (await request.json())["released"]:
            lease, _ = self._held.pop(told["token"], (None, 0))
            if lease is None:
                continue
            if told["instance"] == lease.instance.instance_id:
                self._warm.claims.give_back(lease, int(told["served_ms"]))
            else:  # Envoy could not reach it, or does not know it yet
                asyncio.get_running_loop().call_later(_DOUBT_S, self._warm.claims.put_back, lease)
        return web.Response(status=204)

    async def _healthz(self, request: web.BaseRequest) -> web.Response:
        del request
        return web.json_response({"leases": len(self._held)})

    # ------------------------------------------------------------------ in the background

    async def _sweep(self) -> None:
        now_ms = wall_ms()
        for token in [token for token, (_, until_ms) in self._held.items() if until_ms < now_ms]:
            lease, _ = self._held.pop(token)
            self._warm.claims.give_back(lease, 0)
            told: dict[str, Any] = {"action": "lease_expired", "lease": token}
            logger.warning("The end of lease %s was not heard of", token, extra=told)

    def _read_catalog(self) -> None:
        catalog = self._warm.catalog
        parts: dict[str, dict[str, str | None]] = {
            COMPOSITE_CHECK: {
                c.service: only_part(c, catalog) for c in catalog.composites.values()
            },
            CONSTITUENT_CHECK: {name: name for name in catalog.constituents},
        }
        self._asked_for = {
            check: {
                quote(name, safe=""): part
                for name, part in names.items()
                if part and leased(catalog.constituents[part])
            }
            for check, names in parts.items()
        }
