"""`POST /<composite>`: decide, run, answer, tell."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from streams.adapters import metrics
from streams.catalog import Catalog, Composite
from streams.gateway.claims import Claims, Lease
from streams.gateway.events import Events
from streams.gateway.orchestrate import Failed, Run
from streams.gateway.standard import StandardPath
from streams.provisioners.base import Refused, wall_ms
from streams.records import Outcome, Part, Request, Result, Route, Source
from streams.stages.base import MAX_NAME, MAX_PARAMETER_BYTES, MAX_PARAMETERS
from streams.stages.critical_path import cold_ms
from streams.stages.interceptor import intercept

logger = logging.getLogger(__name__)

__all__ = ["MOST_BYTES", "Desk", "add_routes"]

MOST_BYTES = 1024 * 1024  # of a request's body


@dataclass(slots=True, kw_only=True)
class Desk:
    """What a request needs, for one pool."""

    pool: str
    deadline_ms: int  # from a request's arrival
    catalog: Catalog
    claims: Claims
    standard: StandardPath
    session: aiohttp.ClientSession
    events: Events


_DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)


def add_routes(app: web.Application, desk: Desk) -> None:
    """Serve composites, and `GET /healthz`."""
    app[_DESK] = desk
    app.router.add_get("/healthz", _healthz)
    app.router.add_route("*", "/{composite}", _composite)


async def _healthz(request: web.Request) -> web.Response:
    events = request.app[_DESK].events
    told = {"delivered": events.delivered, "dropped": events.dropped, "waiting": len(events)}
    return web.json_response(told)


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
    desk.events.put(asked)
    return await _serve(desk, composite, asked, began)


async def _serve(desk: Desk, composite: Composite, asked: Request, began: float) -> web.Response:
    run = _claimed(desk, composite, asked)
    status = 200
    headers: dict[str, str] = {}
    told: dict[str, Any] = {"answers": run.answers}
    try:
        await run.go()
    except Refused as error:
        status, told = 503, {"error": str(error)}
        headers["Retry-After"] = str(error.retry_after_s)
    except Failed as error:
        status, told = 502, {"error": str(error)}
    except Exception:  # a fault of ours; the request has its one outcome all the same
        logger.exception("%s failed", asked.request_id, extra={"action": "request_failed"})
        status, told = 500, {"error": "the gateway failed: its log says how"}
    latency_ms = (time.perf_counter() - began) * 1000
    outcome = _outcome(desk, run, asked, status, latency_ms)
    desk.events.put(outcome)
    metrics.REQUESTS.labels(outcome.result, outcome.route).inc()
    metrics.REQUEST_SECONDS.labels(outcome.result).observe(latency_ms / 1000)
    headers["x-foremesh"] = outcome.result.value
    headers["x-request-id"] = asked.request_id
    headers["server-timing"] = f"cold;dur={outcome.cold_ms}, total;dur={latency_ms:.1f}"
    return web.json_response(told, status=status, headers=headers)


def _claimed(desk: Desk, composite: Composite, asked: Request) -> Run:
    """Decide, and claim what the decision found warm, without a pause in between."""
    claims = desk.claims
    names = composite.constituents
    found = intercept(
        composite.steps, {n: claims.best(n) for n in names}, asked.at_ms, _warm_ups(desk, names)
    )
    claimed: dict[str, Lease] = {}
    for part in found.parts:
        if part.warm and (lease := claims.take(part.service)):
            claimed[part.service] = lease
    return Run(
        request_id=asked.request_id,
        steps=composite.steps,
        deadline_ms=asked.at_ms + desk.deadline_ms,
        claimed=claimed,
        body={"request_id": asked.request_id, "parameters": dict(asked.parameters)},
        claims=claims,
        standard=desk.standard,
        session=desk.session,
    )


def _outcome(desk: Desk, run: Run, asked: Request, status: int, latency_ms: float) -> Outcome:
    """What really happened, from the parts as they were measured."""
    parts = {name: _part(run, name) for name in dict.fromkeys(n for s in run.steps for n in s)}
    warm = sum(part.warm for part in parts.values())
    usual = _warm_ups(desk, tuple(parts))
    cold = cold_ms(run.steps, lambda name: parts[name].wait_ms)
    without = cold_ms(run.steps, lambda n: usual[n] if parts[n].warm else parts[n].wait_ms)
    route = Route.PREALLOCATED if warm == len(parts) else Route.STANDARD
    return Outcome(
        request_id=asked.request_id,
        user=asked.user,
        tier=asked.tier,
        pool=asked.pool,
        service=asked.service,
        at_ms=asked.at_ms,
        result=Result.HIT if warm == len(parts) else Result.PARTIAL if warm else Result.MISS,
        route=Route.REFUSED if status == 503 else route,
        status=status,
        latency_ms=latency_ms,
        cold_ms=cold,
        saved_ms=without - cold,
        parts=tuple(parts.values()),
        source=Source.GATEWAY,
    )


def _part(run: Run, name: str) -> Part:
    """A part as measured; one never reached is as it was claimed."""
    return run.parts.get(name) or Part(service=name, warm=name in run.claimed)


def _warm_ups(desk: Desk, names: tuple[str, ...]) -> dict[str, int]:
    known = desk.catalog.constituents
    return {n: desk.claims.warm_up_ms(n, known[n].warm_up_ms if n in known else 0) for n in names}


# --------------------------------------------------------------------------- what is asked


def _asked(
    http: web.Request, parameters: Mapping[str, str], composite: Composite, desk: Desk, at_ms: int
) -> Request:
    """The request as a record; ValueError says what is wrong with it."""
    user = _header(http, "x-foremesh-user", "")
    if not user:
        raise ValueError("header x-foremesh-user is missing: whose request is it?")
    tiers = desk.catalog.tiers
    lowest = min(tiers, key=lambda name: (tiers[name].priority, name), default="standard")
    tier = _header(http, "x-foremesh-tier", "standard" if "standard" in tiers else lowest)
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
