"""The provisioner's HTTP API: the standard path, reports of use, health."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web
from msgspec.json import Decoder

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.provisioners.core.interface import (
    InstanceRequest,
    InstanceUse,
    Provisioner,
    StandardPathRefused,
)
from streams.runtime.access import Guard
from streams.runtime.json_body import BodyRefused, form_of, malformed
from streams.runtime.serving import with_sentences

__all__ = ["MOST_BYTES", "application"]

_PROVISIONER: web.AppKey[Provisioner] = web.AppKey("provisioner", object)  # type: ignore[arg-type]
_BROKER: web.AppKey[BrokerWatch] = web.AppKey("broker", BrokerWatch)
MOST_BYTES = 256 * 1024  # of a body


@dataclass(frozen=True, slots=True)
class UseReport:
    """What a gateway's instances were used for since its previous report."""

    uses: list[InstanceUse]


_WANTED, _REPORT = Decoder(InstanceRequest), Decoder(UseReport)


def application(provisioner: Provisioner, guard: Guard, broker: BrokerWatch) -> web.Application:
    """Build the routes `POST /standard`, `POST /use`, `GET /healthz`, `GET /instances`."""
    middlewares = [guard.middleware(), with_sentences, _errors]
    app = web.Application(client_max_size=MOST_BYTES, middlewares=middlewares)
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
    except BodyRefused as error:
        return malformed(error)
    return answer


async def _standard(request: web.Request) -> web.Response:
    """Answer with an instance once it is warm."""
    wanted = await form_of(request, _WANTED)
    instance = await request.app[_PROVISIONER].standard(wanted)
    return web.json_response(asdict(instance))


async def _use(request: web.Request) -> web.Response:
    """Take in reports of use: `{"uses": [{"instance_id", "in_flight", "uses", "busy_ms"}]}`."""
    report = await form_of(request, _REPORT)
    request.app[_PROVISIONER].use(report.uses)
    return web.Response(status=204)


async def _healthz(request: web.Request) -> web.Response:
    there, count = not request.app[_BROKER].away, len(request.app[_PROVISIONER].instances())
    return web.json_response({"instances": count, "kafka": int(there)})


async def _instances(request: web.Request) -> web.Response:
    instances = request.app[_PROVISIONER].instances()
    return web.json_response([asdict(instance) for instance in instances])
