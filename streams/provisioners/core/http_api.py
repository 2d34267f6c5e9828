"""The provisioner's HTTP API: the standard path, reports of use, health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.provisioners.core.interface import (
    InstanceRequest,
    InstanceUse,
    Provisioner,
    StandardPathRefused,
)
from streams.runtime.access import Guard
from streams.runtime.json_body import MALFORMED, MOST_MS, malformed, name_of, whole_of
from streams.runtime.serving import with_sentences

__all__ = ["application"]

_PROVISIONER: web.AppKey[Provisioner] = web.AppKey("provisioner", object)  # type: ignore[arg-type]
_BROKER: web.AppKey[BrokerWatch] = web.AppKey("broker", BrokerWatch)
_MOST_BYTES = 256 * 1024


def application(provisioner: Provisioner, guard: Guard, broker: BrokerWatch) -> web.Application:
    """Build the routes `POST /standard`, `POST /use`, `GET /healthz`, `GET /instances`."""
    middlewares = [guard.middleware(), with_sentences, _errors]
    app = web.Application(client_max_size=_MOST_BYTES, middlewares=middlewares)
    app[_PROVISIONER], app[_BROKER] = provisioner, broker
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
    except MALFORMED as error:
        return malformed(error)
    return answer


def _use_of(form: Any) -> InstanceUse:
    claimable = form.get("claimable")
    if not isinstance(claimable, bool | None):
        raise TypeError("claimable is neither true nor false")
    return InstanceUse(
        instance_id=name_of(form["instance_id"]),
        in_flight=whole_of(form["in_flight"]),
        uses=whole_of(form.get("uses", 0)),
        busy_ms=whole_of(form.get("busy_ms", 0)),
        claimable=claimable,
    )


async def _standard(request: web.Request) -> web.Response:
    """Answer with an instance once it is warm."""
    body = await request.json()
    wanted = InstanceRequest(
        service=name_of(body["service"]),
        request_id=name_of(body["request_id"]),
        deadline_ms=whole_of(body["deadline_ms"], MOST_MS),
        known=frozenset(map(name_of, body.get("known", ()))),
    )
    instance = await request.app[_PROVISIONER].standard(wanted)
    return web.json_response(asdict(instance))


async def _use(request: web.Request) -> web.Response:
    """Take in reports of use: `{"uses": [{"instance_id", "in_flight", "uses", "busy_ms"}]}`."""
    body = await request.json()
    request.app[_PROVISIONER].use([_use_of(form) for form in body["uses"]])
    return web.Response(status=204)


async def _healthz(request: web.Request) -> web.Response:
    there, count = not request.app[_BROKER].away, len(request.app[_PROVISIONER].instances())
    return web.json_response({"instances": count, "kafka": int(there)})


async def _instances(request: web.Request) -> web.Response:
    instances = request.app[_PROVISIONER].instances()
    return web.json_response([asdict(instance) for instance in instances])
