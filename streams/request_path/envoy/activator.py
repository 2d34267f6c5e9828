"""The activator: the standard path behind Envoy.

It holds a request that found nothing warm, starts an instance for it, and passes it on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.metrics import endpoint
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, Part
from streams.records.catalog import Constituent
from streams.request_path.core import server_timing
from streams.request_path.core.claims import ClaimableInstance
from streams.request_path.core.headers import (
    CONSTITUENT_HEADER,
    IDEMPOTENT_HEADER,
    RESULT_HEADER,
    priority_in,
    whole_in,
)
from streams.request_path.core.http_server import body_of, new_application, serve_application
from streams.request_path.core.provisioner_client import until
from streams.request_path.core.retries import (
    IDEMPOTENT_METHODS,
    IDLE_TIMEOUT_S,
    MAYBE_SERVED,
    is_unserved,
)
from streams.request_path.core.start_up_times import start_up_ms_since
from streams.request_path.core.warm_pool import WarmPool, open_warm_pool
from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.clusters import is_exclusive
from streams.request_path.envoy.decision_client import (
    DecisionClient,
    DecisionServiceUnavailable,
    GrantedInstance,
)
from streams.request_path.envoy.fitting_names import request_id_in
from streams.request_path.envoy.forwarding import (
    broken_off,
    end_to_end_headers,
    response_to,
    stream_body,
)
from streams.request_path.envoy.policy import RoutePolicy
from streams.runtime.access import credentials, loopback_only
from streams.runtime.clock import ms_since, wall_ms
from streams.settings import Settings

__all__ = ["StandardPathProxy", "serve_activator", "time_left_ms"]

_ATTEMPTS = 4  # an instance may die before the provisioner has noticed


async def serve_activator(
    settings: Settings,
    addresses: MeshAddresses,
    policy: RoutePolicy,
    queue: int,
    stop: asyncio.Event,
) -> None:
    """Serve requests that found nothing warm until `stop` is set.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    addresses, policy
        Where to listen, and where the decision service is; pool and deadline.
    queue
        Most requests that wait for one constituent.
    stop
        Ends the process; requests in flight are finished.
    """
    at = loopback_only(addresses.activate, "activator")
    up = asyncio.Event()
    port, host = settings.metrics_port, settings.metrics_host
    endpoint.serve("mesh activate", port, host, ready=up.is_set)
    BrokerWatch(settings).start()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
        open_warm_pool(settings, session, pool=policy.pool, queue=queue) as warm,
    ):
        brings = credentials(settings, f"http://{addresses.decide}").headers
        decisions = DecisionClient(session, addresses.decide, brings)
        proxy = StandardPathProxy(warm, decisions, session, policy.deadline_ms)
        app = new_application(composed=True)
        app.router.add_route("*", "/{path:.*}", proxy.serve)
        work = [*warm.start(proxy.observe), decisions.check_health()]
        await serve_application(app, at, work, stop, cancels=True, decompress=False, listens=up)


@dataclass(frozen=True, slots=True)
class _Held:
    """An instance held for one request, and how it is released."""

    instance: Instance
    warm: bool  # it was free when the request arrived
    release: Callable[[int], None]  # with the ms it served
    discard: Callable[[], None]  # as dead
    check: Callable[[], None]  # as one that owes an answer


class _MaybeServed(Exception):
    """An instance received the request and may have served it; it is not retried."""

    def __init__(self, status: int, what: str, part: Part) -> None:
        super().__init__(f"{part.service} {what}")
        self.status, self.part = status, part


class StandardPathProxy:
    """Passes requests to instances that are started for them.

    Exclusive instances are leased from the decision service. While that is unavailable, the
    activator claims those that are started for a request itself.

    Parameters
    ----------
    warm
        The pool's instances.
    decisions
        The decision service.
    session
        Connections to instances.
    deadline_ms
        Most that a request may take.
    """

    def __init__(
        self,
        warm: WarmPool,
        decisions: DecisionClient,
        session: aiohttp.ClientSession,
        deadline_ms: int,
    ) -> None:
        self._warm = warm
        self._decisions = decisions
        self._session = session
        self._deadline_ms = deadline_ms
        self._tasks: set[asyncio.Task[None]] = set()

    def observe(self, instance: Instance) -> None:
        """Record a change of an instance; the decision service claims exclusive ones."""
        constituent = self._warm.catalog.constituents.get(instance.service)
        claims = self._warm.claims
        foreign = constituent is not None and is_exclusive(constituent)
        (claims.observe_foreign if foreign else claims.observe)(instance)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for the constituent that its header names."""
        name = request.headers.get(CONSTITUENT_HEADER, "")
        constituent = self._warm.catalog.constituents.get(name)
        if constituent is None:
            error = {"error": "the constituent is not in the catalogue"}
            return web.json_response(error, status=404)
        arrived_ms = wall_ms()
        deadline_ms = arrived_ms + time_left_ms(request.headers, self._deadline_ms)
        try:
            return await self._try_instances(constituent, request, arrived_ms, deadline_ms)
        except StandardPathRefused as refused:
            part = Part(service=name, warm=False, wait_ms=ms_since(arrived_ms))
            headers = {"Retry-After": str(refused.retry_after_s), **_cost_headers(part)}
            return web.json_response({"error": str(refused)}, status=503, headers=headers)
        except _MaybeServed as ended:
            headers = _cost_headers(ended.part)
            return web.json_response({"error": str(ended)}, status=ended.status, headers=headers)

    async def _try_instances(
        self, constituent: Constituent, request: web.Request, arrived_ms: int, deadline_ms: int
    ) -> web.StreamResponse:
        body = await body_of(request, (deadline_ms - arrived_ms) / 1_000)
        for _ in range(_ATTEMPTS):
            held = await self._hold(constituent, request, deadline_ms)
            part = Part(
                service=constituent.service,
                warm=held.warm,
                instance_id=held.instance.instance_id,
                wait_ms=0 if held.warm else ms_since(arrived_ms),
                warm_up_ms=start_up_ms_since(held.instance, arrived_ms),
            )
            response = await asyncio.shield(self._pass_on(request, body, held, part, deadline_ms))
            if response is not None:
                return response
        raise StandardPathRefused(f"{constituent.service} does not answer")

    # ------------------------------------------------------------------ an instance

    async def _hold(
        self, constituent: Constituent, request: web.Request, deadline_ms: int
    ) -> _Held:
        name = constituent.service
        request_id = request_id_in(request.headers)
        priority = priority_in(request.headers, self._warm.catalog.tiers)
        if is_exclusive(constituent):
            try:
                granted = await self._decisions.acquire(name, request_id, deadline_ms, priority)
            except DecisionServiceUnavailable:
                pass
            else:
                return self._held_lease(granted)
        claimed = self._warm.claims.claim(name)
        if claimed is not None:
            return self._held_claim(claimed, deadline_ms, warm=True)
        claimed = await self._warm.standard_path.claim(name, request_id, deadline_ms, priority)
        return self._held_claim(claimed, deadline_ms, warm=False)

    def _held_lease(self, granted: GrantedInstance) -> _Held:
        return _Held(
            granted.instance,
            granted.warm,
            lambda served_ms: self._begin(self._decisions.release(granted, served_ms)),
            lambda: self._begin(self._decisions.release(granted, lost=True)),
            lambda: self._begin(self._decisions.release(granted, unanswered=True)),
        )

    def _held_claim(self, claimed: ClaimableInstance, deadline_ms: int, *, warm: bool) -> _Held:
        claims, unanswered = self._warm.claims, self._warm.unanswered
        return _Held(
            claimed.instance,
            warm,
            lambda served_ms: claims.release(claimed, served_ms),
            lambda: claims.discard(claimed),
            lambda: unanswered.check(claimed, deadline_ms),
        )

    def _begin(self, release: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(release)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ passing on

    async def _pass_on(
        self,
        request: web.Request,
        body: bytes,
        held: _Held,
        part: Part,
        deadline_ms: int,
    ) -> web.StreamResponse | None:
        """Pass a request to an instance and its answer back; None if another may serve it."""
        began = time.perf_counter()
        response: web.StreamResponse | None = None
        answered = dead = False
        try:
            async with self._session.request(
                request.method,
                held.instance.endpoint.rstrip("/") + request.raw_path,
                headers=end_to_end_headers(request.headers),
                data=body or None,
                timeout=until(deadline_ms),
                allow_redirects=False,
            ) as answer:
                response = response_to(answer, _cost_headers(part))
                await stream_body(answer, request, response)
            answered = True
        except (aiohttp.ClientError, TimeoutError) as error:
            if response is not None:
                return broken_off(request, response)
            dead = isinstance(error, aiohttp.ClientConnectionError)
            if not dead and isinstance(error, TimeoutError):
                raise _MaybeServed(504, "did not answer in time", part) from None
            if not dead or not (_is_idempotent(request) or is_unserved(error)):
                raise _MaybeServed(502, MAYBE_SERVED, part) from None
        finally:
            if answered:
                held.release(round((time.perf_counter() - began) * 1000))
            elif dead:
                held.discard()
            else:
                held.check()
        return response


def time_left_ms(headers: Mapping[str, str], most_ms: int) -> int:
    """How long Envoy still waits for the answer to a request, at most `most_ms`."""
    return min(most_ms, whole_in(headers.get("x-envoy-expected-rq-timeout-ms", ""), most_ms))


def _is_idempotent(request: web.Request) -> bool:
    return request.method in IDEMPOTENT_METHODS or IDEMPOTENT_HEADER in request.headers


def _cost_headers(part: Part) -> dict[str, str]:
    return {
        RESULT_HEADER: "hit" if part.warm else "miss",
        "server-timing": server_timing.format_part(part),
    }
