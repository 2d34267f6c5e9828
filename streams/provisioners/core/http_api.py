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
from streams.runtime.serving import BODY_UNREADABLE

__all__ = ["application"]

_PROVISIONER: web.AppKey[Provisioner] = web.AppKey("provisioner", object)  # type: ignore[arg-type]
_BROKER: web.AppKey[BrokerWatch] = web.AppKey("broker", BrokerWatch)
_MOST_BYTES = 256 * 1024
_MALFORMED = (
    *(AttributeError, KeyError, TypeError, ValueError, RecursionError),
    *BODY_UNREADABLE,
)
_MOST_NAME = 4_096  # characters
_MOST = 2**40  # of a count or duration since the last report
_MOST_MS = 2**53  # of a time


def application(provisioner: Provisioner, guard: Guard, broker: BrokerWatch) -> web.Application:
    """Build the routes `POST /standard`, `POST /use`, `GET /healthz`, `GET /instances`."""
    middlewares = [guard.middleware(), _errors]
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
    except _MALFORMED as error:
        return web.json_response(
            {"error": f"malformed request: {error!r}"[:_MOST_NAME]}, status=400
        )
    return answer


def _name(value: Any) -> str:
    """A name that can be encoded."""
    if not isinstance(value, str) or len(value) > _MOST_NAME:
        raise TypeError("a name is missing or too long")
    value.encode()
    return value


def _whole(value: Any, most: int = _MOST) -> int:
    """A whole number that is not negative, and not larger than a record can hold."""
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"a number is not whole, or not between 0 and {most}")
    return value


def _use_of(form: Any) -> InstanceUse:
    claimable = form.get("claimable")
    if not isinstance(claimable, bool | None):
        raise TypeError("claimable is neither true nor false")
    return InstanceUse(
        instance_id=_name(form["instance_id"]),
        in_flight=_whole(form["in_flight"]),
        uses=_whole(form.get("uses", 0)),
        busy_ms=_whole(form.get("busy_ms", 0)),
        claimable=claimable,
    )


async def _standard(request: web.Request) -> web.Response:
    """Answer with an instance once it is warm."""
    body = await request.json()
    wanted = InstanceRequest(
        service=_name(body["service"]),
        request_id=_name(body["request_id"]),
        deadline_ms=_whole(body["deadline_ms"], _MOST_MS),
        known=frozenset(map(_name, body.get("known", ()))),
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
