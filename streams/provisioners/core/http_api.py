"""The provisioner's HTTP API on loopback: the standard path, reports of use, health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web

from streams.provisioners.core.interface import (
    InstanceRequest,
    InstanceUse,
    Provisioner,
    StandardPathRefused,
)

__all__ = ["application"]

_PROVISIONER: web.AppKey[Provisioner] = web.AppKey("provisioner", object)  # type: ignore[arg-type]
_MOST_BYTES = 256 * 1024


def application(provisioner: Provisioner) -> web.Application:
    """Build the routes `POST /standard`, `POST /use`, `GET /healthz`, `GET /instances`."""
    app = web.Application(client_max_size=_MOST_BYTES, middlewares=[_errors])
    app[_PROVISIONER] = provisioner
    app.router.add_post("/standard", _standard)
    app.router.add_post("/use", _use)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/instances", _instances)
    return app


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except StandardPathRefused as error:
        return web.json_response(
            {"error": str(error)},
            status=503 if error.known else 404,
            headers={"Retry-After": str(error.retry_after_s)},
        )
    except (KeyError, TypeError, ValueError) as error:
        return web.json_response({"error": f"malformed request: {error!r}"}, status=400)
    return answer


async def _standard(request: web.Request) -> web.Response:
    """Answer with an instance once it is warm."""
    body = await request.json()
    wanted = InstanceRequest(
        service=str(body["service"]),
        request_id=str(body["request_id"]),
        deadline_ms=int(body["deadline_ms"]),
        known=frozenset(map(str, body.get("known", ()))),
    )
    instance = await request.app[_PROVISIONER].standard(wanted)
    return web.json_response(asdict(instance))


async def _use(request: web.Request) -> web.Response:
    """Take in reports of use: `{"uses": [{"instance_id", "in_flight", "uses", "busy_ms"}]}`."""
    body = await request.json()
    request.app[_PROVISIONER].use([InstanceUse(**use) for use in body["uses"]])
    return web.Response(status=204)


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"instances": len(request.app[_PROVISIONER].instances())})


async def _instances(request: web.Request) -> web.Response:
    instances = request.app[_PROVISIONER].instances()
    return web.json_response([asdict(instance) for instance in instances])
