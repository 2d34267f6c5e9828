"""The gateway's HTTP routes: `POST /<composite>` runs its constituents; `GET /healthz`."""

from __future__ import annotations

import abc
import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from msgspec import Raw, json

from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Outcome, Request
from streams.records.catalog import Catalog, Composite
from streams.request_path.core import server_timing
from streams.request_path.core.headers import RESULT_HEADER
from streams.request_path.core.http_server import body_of
from streams.request_path.core.orchestration import (
    ClientGone,
    CompositeRun,
    ConstituentFailed,
    ConstituentLate,
)
from streams.request_path.core.outcomes import outcome_of
from streams.request_path.core.retries import is_idempotent
from streams.request_path.gateway.request_parsing import (
    parse_body,
    parse_parameters,
    parse_request,
    single_headers,
)
from streams.runtime.clock import wall_ms
from streams.runtime.json_body import BODY_UNREADABLE
from streams.runtime.serving import DRAIN_S
from streams.stages.base import MAX_NAME

logger = logging.getLogger(__name__)

__all__ = ["RequestHandler", "add_routes", "in_progress"]


class RequestHandler(abc.ABC):
    """Runs the requests of one pool; how constituents are reached is up to the subclass.

    Parameters
    ----------
    pool
        Its name.
    deadline_ms
        Most that a request may take, from its arrival.
    """

    def __init__(self, pool: str, deadline_ms: int) -> None:
        self.pool = pool
        self.deadline_ms = deadline_ms

    @property
    @abc.abstractmethod
    def catalog(self) -> Catalog:
        """The current catalogue."""

    @property
    @abc.abstractmethod
    def trusts_tier_header(self) -> bool:
        """Whether the tier of a request is what its header says."""

    @abc.abstractmethod
    def start_run(
        self,
        composite: Composite,
        request: Request,
        values: Mapping[str, Raw],
        *,
        idempotent: bool,
    ) -> CompositeRun:
        """Decide how a request is served, and claim what it needs without a pause in between."""

    @abc.abstractmethod
    def start_up_times(self, names: tuple[str, ...]) -> dict[str, int]:
        """Start-up times of constituents, in milliseconds."""

    @abc.abstractmethod
    def publish(self, record: Request | Outcome) -> None:
        """Publish a request, or its outcome."""

    @abc.abstractmethod
    def health(self) -> dict[str, int]:
        """Numbers for `GET /healthz`."""


_METHODS = ("GET", "POST")
_GONE = 499  # the status of an outcome that no client waited for, as nginx has it
_HANDLER: web.AppKey[RequestHandler] = web.AppKey("handler", RequestHandler)
_RUNNING: web.AppKey[set[asyncio.Task[web.Response]]] = web.AppKey("running", set)


def add_routes(app: web.Application, handler: RequestHandler) -> None:
    """Serve composites, and `GET /healthz`."""
    app[_HANDLER], app[_RUNNING] = handler, set()
    app.on_cleanup.append(_finish)
    app.router.add_get("/healthz", _healthz)
    app.router.add_route("*", "/{composite}", _composite)


def in_progress(app: web.Application) -> int:
    """Requests that have no outcome yet."""
    return len(app[_RUNNING])


async def _finish(app: web.Application) -> None:
    """Let requests whose client is gone have their outcome."""
    if running := app[_RUNNING]:
        await asyncio.wait(running, timeout=DRAIN_S)


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response(request.app[_HANDLER].health())


async def _composite(http: web.Request) -> web.Response:
    """Serve one request for a composite."""
    began = time.perf_counter()
    at_ms = wall_ms()
    handler = http.app[_HANDLER]
    name = http.match_info["composite"]
    composite = handler.catalog.composites.get(name)
    if http.method not in _METHODS:
        return _not_allowed(http.method)
    if composite is None:
        return _error(404, f"there is no composite service {name[:MAX_NAME]!r} in the catalogue")
    try:
        values = parse_body(await _body(http, handler.deadline_ms))
        request = parse_request(
            single_headers(http.headers.items()),
            parse_parameters(http.query, values),
            handler.catalog.tiers,
            composite=composite.service,
            pool=handler.pool,
            at_ms=at_ms,
            request_id=uuid.uuid4().hex,
            tier_header=handler.trusts_tier_header,
        )
    except ValueError as error:
        return _error(400, str(error))
    handler.publish(request)
    idempotent = is_idempotent(http.method, composite)
    run = handler.start_run(composite, request, values, idempotent=idempotent)
    served = asyncio.create_task(_serve(handler, composite, request, run, began))
    http.app[_RUNNING].add(served)
    served.add_done_callback(http.app[_RUNNING].discard)
    try:
        return await asyncio.shield(served)
    except asyncio.CancelledError:  # the client is gone; the request has its outcome all the same
        run.abandon()
        raise


async def _serve(
    handler: RequestHandler,
    composite: Composite,
    request: Request,
    run: CompositeRun,
    began: float,
) -> web.Response:
    status, answer, headers = await _run(run)
    outcome = _outcome(handler, composite, request, run, status=status, began=began)
    handler.publish(outcome)
    return web.Response(
        body=json.encode(answer),
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={**headers, **_headers(outcome)},
    )


async def _body(http: web.Request, deadline_ms: int) -> bytes | None:
    if not http.can_read_body:
        return None
    try:
        return await body_of(http, deadline_ms / 1_000)
    except BODY_UNREADABLE as error:
        raise ValueError("the body is not encoded as its headers say") from error


async def _run(run: CompositeRun) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Execute a run; returns status, body and headers of the answer."""
    try:
        await run.execute()
    except StandardPathRefused as error:
        return 503, {"error": str(error)}, {"Retry-After": str(error.retry_after_s)}
    except ClientGone as error:
        return _GONE, {"error": str(error)}, {}
    except ConstituentLate as error:
        return 504, {"error": str(error)}, {}
    except ConstituentFailed as error:
        return 502, {"error": str(error)}, {}
    except Exception:  # a bug of the gateway; the request has its one outcome all the same
        logger.exception("%s failed", run.request_id, extra={"action": "request_failed"})
        return 500, {"error": "the gateway failed; its log has the details"}, {}
    return 200, {"answers": run.answers}, {}


def _outcome(
    handler: RequestHandler,
    composite: Composite,
    request: Request,
    run: CompositeRun,
    *,
    status: int,
    began: float,
) -> Outcome:
    latency_ms = (time.perf_counter() - began) * 1000
    names = composite.constituents
    return outcome_of(
        request,
        composite.steps,
        {name: run.part_of(name) for name in names},
        handler.start_up_times(names),
        status=status,
        latency_ms=latency_ms,
    )


def _headers(outcome: Outcome) -> Mapping[str, str]:
    """The headers that tell the user what the request cost."""
    return {
        RESULT_HEADER: outcome.result.value,
        "x-request-id": outcome.request_id,
        "server-timing": server_timing.format_outcome(outcome),
    }


def _not_allowed(method: str) -> web.Response:
    answer = _error(405, f"a composite is requested by GET or POST, not by {method[:MAX_NAME]}")
    answer.headers["Allow"] = ", ".join(_METHODS)
    return answer


def _error(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)
