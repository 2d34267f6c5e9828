"""`POST /<composite>`: decide, run, answer, tell."""

from __future__ import annotations

import abc
import json
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from streams.adapters import metrics
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Outcome, Request, Source
from streams.records.catalog import Catalog, Composite
from streams.request_path.core import server_timing
from streams.request_path.core.headers import TIER_HEADER, USER_HEADER
from streams.request_path.core.orchestration import CompositeRun, ConstituentFailed
from streams.request_path.core.outcomes import outcome_of
from streams.request_path.core.retries import is_idempotent
from streams.runtime.clock import wall_ms
from streams.stages.base import MAX_NAME, MAX_PARAMETER_BYTES, MAX_PARAMETERS

logger = logging.getLogger(__name__)

__all__ = ["RequestHandler", "add_routes"]


class RequestHandler(abc.ABC):
    """What a request needs, for one pool.

    Parameters
    ----------
    pool
        Whose requests these are.
    deadline_ms
        Most that a request may take, from its arrival.
    """

    def __init__(self, pool: str, deadline_ms: int) -> None:
        self.pool = pool
        self.deadline_ms = deadline_ms

    @property
    @abc.abstractmethod
    def catalog(self) -> Catalog:
        """The catalogue as it stands."""

    @abc.abstractmethod
    def begin(self, composite: Composite, asked: Request, *, idempotent: bool) -> CompositeRun:
        """Decide what the request gets, and claim it without a pause in between."""

    @abc.abstractmethod
    def usual_ms(self, names: tuple[str, ...]) -> dict[str, int]:
        """Start-up times of constituents."""

    @abc.abstractmethod
    def tell(self, record: Request | Outcome) -> None:
        """Make known what was asked, and what came of it."""

    @abc.abstractmethod
    def health(self) -> dict[str, int]:
        """Numbers for `GET /healthz`."""


_DESK: web.AppKey[RequestHandler] = web.AppKey("desk", RequestHandler)


def add_routes(app: web.Application, desk: RequestHandler) -> None:
    """Serve composites, and `GET /healthz`."""
    app[_DESK] = desk
    app.router.add_get("/healthz", _healthz)
    app.router.add_route("*", "/{composite}", _composite)


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response(request.app[_DESK].health())


async def _composite(request: web.Request) -> web.Response:
    """Serve one request for a composite service."""
    began = time.perf_counter()
    at_ms = wall_ms()
    desk = request.app[_DESK]
    name = request.match_info["composite"]
    composite = desk.catalog.composites.get(name)
    if request.method not in {"GET", "POST"}:
        return _sorry(405, f"a composite service answers GET and POST, not {request.method}")
    if composite is None:
        return _sorry(404, f"there is no composite service {name[:MAX_NAME]!r} in the catalogue")
    try:
        asked = _asked(request, await _parameters(request), composite, desk, at_ms)
    except ValueError as error:
        return _sorry(400, str(error))
    desk.tell(asked)
    run = desk.begin(composite, asked, idempotent=is_idempotent(request.method, composite))
    return await _serve(desk, composite, asked, run, began)


async def _serve(
    desk: RequestHandler, composite: Composite, asked: Request, run: CompositeRun, began: float
) -> web.Response:
    status = 200
    headers: dict[str, str] = {}
    told: dict[str, Any] = {"answers": run.answers}
    try:
        await run.go()
    except StandardPathRefused as error:
        status, told = 503, {"error": str(error)}
        headers["Retry-After"] = str(error.retry_after_s)
    except ConstituentFailed as error:
        status, told = 502, {"error": str(error)}
    except Exception:  # a fault of ours; the request has its one outcome all the same
        logger.exception("%s failed", asked.request_id, extra={"action": "request_failed"})
        status, told = 500, {"error": "the gateway failed: its log says how"}
    latency_ms = (time.perf_counter() - began) * 1000
    outcome = outcome_of(
        asked,
        composite.steps,
        {name: run.part(name) for name in composite.constituents},
        desk.usual_ms(composite.constituents),
        status=status,
        latency_ms=latency_ms,
    )
    desk.tell(outcome)
    metrics.REQUESTS.labels(outcome.result, outcome.route).inc()
    metrics.REQUEST_SECONDS.labels(outcome.result).observe(latency_ms / 1000)
    headers["x-foremesh"] = outcome.result.value
    headers["x-request-id"] = asked.request_id
    headers["server-timing"] = server_timing.format_outcome(outcome)
    return web.json_response(told, status=status, headers=headers)


# --------------------------------------------------------------------------- what is asked


def _asked(
    http: web.Request,
    parameters: Mapping[str, str],
    composite: Composite,
    desk: RequestHandler,
    at_ms: int,
) -> Request:
    """The request as a record; ValueError says what is wrong with it."""
    user = _header(http, USER_HEADER, "")
    if not user:
        raise ValueError(f"header {USER_HEADER} is missing: whose request is it?")
    tiers = desk.catalog.tiers
    lowest = min(tiers, key=lambda name: (tiers[name].priority, name), default="standard")
    tier = _header(http, TIER_HEADER, "standard" if "standard" in tiers else lowest)
    if tiers and tier not in tiers:
        raise ValueError(f"there is no tier {tier!r}: the catalogue has {', '.join(tiers)}")
    return Request(
        request_id=_header(http, "x-request-id", uuid.uuid4().hex),
        user=user,
        service=composite.service,
        at_ms=at_ms,
        parameters=parameters,
        tier=tier,
        pool=desk.pool,
        source=Source.GATEWAY,
    )


def _header(http: web.Request, name: str, default: str) -> str:
    value = http.headers.get(name) or default
    if len(value) > MAX_NAME:
        raise ValueError(f"header {name} has more than {MAX_NAME} characters")
    return value


async def _parameters(http: web.Request) -> dict[str, str]:
    """The query's parameters and the scalars of a JSON body, within bounds."""
    found = dict(http.query)
    if http.can_read_body:
        try:
            body = json.loads(await http.read())
        except ValueError:
            raise ValueError("the body is not JSON") from None
        if not isinstance(body, dict):
            raise ValueError("the body is not a JSON object")
        found |= {key: str(value) for key, value in body.items() if _is_scalar(value)}
    size = sum(len(key) + len(value) for key, value in found.items())
    if len(found) > MAX_PARAMETERS or size > MAX_PARAMETER_BYTES:
        raise ValueError(
            f"{len(found)} parameters of {size} characters are more than"
            f" {MAX_PARAMETERS} of {MAX_PARAMETER_BYTES}"
        )
    return found


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _sorry(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)
