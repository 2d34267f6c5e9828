"""The activator: the standard path behind Envoy.

It starts what is missing, holds the request meanwhile, and passes it on.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from streams.adapters import metrics
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, Part
from streams.records.catalog import Constituent
from streams.request_path.core import server_timing
from streams.request_path.core.headers import MAX_BODY_BYTES
from streams.request_path.core.orchestration import start_up_ms_since
from streams.request_path.core.retries import (
    IDEMPOTENT_HEADER,
    IDEMPOTENT_METHODS,
    IDLE_TIMEOUT_S,
    MAYBE_SERVED,
    is_unserved,
)
from streams.request_path.core.warm_pool import WarmPool
from streams.request_path.envoy.addresses import MeshAddresses, RoutePolicy
from streams.request_path.envoy.clusters import is_exclusive
from streams.request_path.envoy.decision_client import (
    DecisionClient,
    DecisionServiceUnavailable,
    back,
)
from streams.request_path.envoy.routes import CONSTITUENT_HEADER
from streams.runtime.clock import wall_ms
from streams.runtime.serving import DRAIN_S, serving
from streams.runtime.tasks import first_to_end
from streams.settings import Settings

__all__ = ["StandardPathProxy"]

logger = logging.getLogger(__name__)

_TRIES = 4  # an instance may die before anybody has said so
_CHUNK = 64 * 1024
# Of one connection (RFC 9110, 7.6.1), or set anew.
_OWN_HOP = {
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _HeldInstance:
    """An instance for one request, and what to say when it is done, with the ms it served."""

    instance: Instance
    warm: bool  # it was free when the request came
    done: Callable[[int], None]
    lost: Callable[[], None]


class _MaybeServed(Exception):
    """A request that was given to an instance, and may have been served; it is not sent again."""

    def __init__(self, status: int, what: str, part: Part) -> None:
        super().__init__(f"{part.service} {what}")
        self.status, self.part = status, part


class StandardPathProxy:
    """Serves requests that found nothing warm.

    Exclusive instances are the decision service's to give. When there is none, those that are
    started for a request are used.

    Parameters
    ----------
    settings, places, policy
        Where things are, and what holds for requests.
    queue
        Most requests that wait for one constituent.
    """

    def __init__(
        self, settings: Settings, places: MeshAddresses, policy: RoutePolicy, queue: int
    ) -> None:
        self._settings = settings
        self._places = places
        self._deadline_ms = policy.deadline_ms
        self._warm = WarmPool(settings, policy.pool, queue, observe=self._observe)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; what is being served is finished."""
        metrics.serve(self._settings.metrics_port)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_TIMEOUT_S)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False
        ) as self._session:
            self._decisions = DecisionClient(self._session, self._places.decide)
            await self._warm.open(self._session)
            app = web.Application(client_max_size=MAX_BODY_BYTES)
            app.router.add_route("*", "/{path:.*}", self._serve)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_S)
            work = [*self._warm.work(), self._decisions.look()]
            await serving(
                runner, self._places.activate, "activator", lambda: first_to_end(work, stop)
            )
            await self._warm.close()

    def _observe(self, instance: Instance) -> None:
        constituent = self._warm.catalog.constituents.get(instance.service)
        claims = self._warm.claims
        is_theirs = constituent is not None and is_exclusive(constituent)
        (claims.note if is_theirs else claims.observe)(instance)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        constituent = self._warm.catalog.constituents.get(
            request.headers.get(CONSTITUENT_HEADER, "")
        )
        if constituent is None:
            return web.json_response({"error": "no constituent of the catalogue"}, status=404)
        came_ms = wall_ms()
        deadline_ms = came_ms + self._left_ms(request)
        try:
            return await self._through(constituent, request, came_ms, deadline_ms)
        except StandardPathRefused as error:
            part = Part(service=constituent.service, warm=False, wait_ms=wall_ms() - came_ms)
            headers = {"Retry-After": str(error.retry_after_s), **_told(part)}
            return web.json_response({"error": str(error)}, status=503, headers=headers)
        except _MaybeServed as error:
            told = _told(error.part)
            return web.json_response({"error": str(error)}, status=error.status, headers=told)

    async def _through(
        self, constituent: Constituent, request: web.Request, came_ms: int, deadline_ms: int
    ) -> web.StreamResponse:
        body = await request.read()
        for _ in range(_TRIES):
            held = await self._hold(constituent, request, deadline_ms)
            part = Part(
                service=constituent.service,
                warm=held.warm,
                instance_id=held.instance.instance_id,
                wait_ms=0 if held.warm else wall_ms() - came_ms,
                warm_up_ms=start_up_ms_since(held.instance, came_ms),
            )
            answer = await self._pass_on(request, body, held, part, deadline_ms)
            if answer is not None:
                return answer
        raise StandardPathRefused(f"{constituent.service} does not answer")

    def _left_ms(self, request: web.Request) -> int:
        left = request.headers.get("x-envoy-expected-rq-timeout-ms", "")
        return min(int(left), self._deadline_ms) if left.isdigit() else self._deadline_ms

    # ------------------------------------------------------------------ an instance

    async def _hold(
        self, constituent: Constituent, request: web.Request, deadline_ms: int
    ) -> _HeldInstance:
        service = constituent.service
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        if is_exclusive(constituent):
            try:
                return await self._granted(service, request_id, deadline_ms)
            except DecisionServiceUnavailable:
                pass
        claims = self._warm.claims
        lease = claims.take(service)
        warm = lease is not None
        lease = lease or await self._warm.standard.lease(service, request_id, deadline_ms)
        got = lease
        return _HeldInstance(
            got.instance,
            warm,
            lambda served_ms: claims.give_back(got, served_ms),
            lambda: claims.lose(got),
        )

    async def _granted(self, service: str, request_id: str, deadline_ms: int) -> _HeldInstance:
        granted = await self._decisions.lease(service, request_id, deadline_ms)
        key, name = granted.key, granted.instance.instance_id
        return _HeldInstance(
            granted.instance,
            granted.warm,
            lambda served_ms: self._release(back(key, name, served_ms)),
            lambda: self._release(back(key, name, lost=True)),
        )

    def _release(self, released: dict[str, object]) -> None:
        task = asyncio.create_task(self._decisions.release(released))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ passing on

    async def _pass_on(
        self, request: web.Request, body: bytes, held: _HeldInstance, part: Part, deadline_ms: int
    ) -> web.StreamResponse | None:
        """Pass the request to an instance, and its answer back; None when another may serve it."""
        began = time.perf_counter()
        limit = aiohttp.ClientTimeout(total=max(0.001, (deadline_ms - wall_ms()) / 1000))
        response: web.StreamResponse | None = None
        dead = False
        try:
            async with self._session.request(
                request.method,
                held.instance.endpoint.rstrip("/") + request.raw_path,
                headers=_passed(request.headers),
                data=body or None,
                timeout=limit,
                allow_redirects=False,
            ) as answer:
                headers = _passed(answer.headers)
                headers.update(_told(part))
                response = web.StreamResponse(status=answer.status, headers=headers)
                await response.prepare(request)
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    await response.write(chunk)
                await response.write_eof()
        except aiohttp.ClientConnectionError as error:
            if response is not None:
                raise  # half of it was passed on: the connection ends, and Envoy sees it
            dead = True
            if not (_is_idempotent(request) or is_unserved(error)):
                raise _MaybeServed(502, MAYBE_SERVED, part) from None
        except TimeoutError:
            if response is not None:
                raise
            raise _MaybeServed(504, "did not answer in time", part) from None
        finally:
            if dead:
                held.lost()
            else:
                held.done(round((time.perf_counter() - began) * 1000))
        return response


def _is_idempotent(request: web.Request) -> bool:
    return request.method in IDEMPOTENT_METHODS or IDEMPOTENT_HEADER in request.headers


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in _OWN_HOP)


def _told(part: Part) -> dict[str, str]:
    return {
        "x-foremesh": "hit" if part.warm else "miss",
        "server-timing": server_timing.format_part(part),
    }
