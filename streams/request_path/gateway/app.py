"""The gateway that claims instances itself, as a process."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import aiohttp

from streams.adapters.avro import codec
from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.kafka.clients import producer_config
from streams.adapters.metrics import endpoint
from streams.adapters.metrics.table import EVENTS_WAITING, IN_PROGRESS
from streams.request_path.core.event_buffer import EventBuffer
from streams.request_path.core.http_server import new_application, serve_application
from streams.request_path.core.retries import IDLE_TIMEOUT_S
from streams.request_path.core.warm_pool import open_warm_pool
from streams.request_path.gateway.claiming import ClaimingRequestHandler
from streams.request_path.gateway.request_spans import traced
from streams.request_path.gateway.routes import add_routes, in_progress
from streams.runtime.access import Listener, users_guard
from streams.runtime.tasks import every
from streams.settings import Settings
from streams.tracing.opening import tracer_of

__all__ = ["GatewayConfig", "serve_gateway"]

logger = logging.getLogger(__name__)

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Parameters of a gateway."""

    pool: str = "default"
    queue: int = 64  # requests that wait for one constituent
    deadline_ms: int = 10_000


async def serve_gateway(
    settings: Settings, config: GatewayConfig, at: Listener, stop: asyncio.Event
) -> None:
    """Serve the composites of one pool until `stop` is set, then send what Kafka still lacks.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    config
        Pool and bounds.
    at
        Where it may listen; beyond loopback its users must send a token.
    stop
        Ends the process; requests in flight are finished.
    """
    listens = asyncio.Event()
    endpoint.serve("gateway", settings.metrics_port, settings.metrics_host, ready=listens.is_set)
    broker = BrokerWatch(settings)
    broker.start()
    tracer = tracer_of(settings, "gateway")
    config_of_kafka = producer_config(settings)
    events = EventBuffer(config_of_kafka, codec.encode, settings.topic, tracer=tracer)
    endpoint.before_scrape(lambda: EVENTS_WAITING.set(len(events)))
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        open_warm_pool(settings, session, pool=config.pool, queue=config.queue) as warm,
    ):
        handler = ClaimingRequestHandler(
            config.pool,
            config.deadline_ms,
            warm=warm,
            session=session,
            events=events,
            broker=broker,
        )
        if problem := handler.catalog.lacks_pool(config.pool):
            logger.warning("%s", problem, extra={"action": "pool_unknown"})
        app = new_application(users_guard(settings) if at.tls else None)
        if tracer:
            app.middlewares.append(traced(tracer))
        add_routes(app, handler)
        endpoint.before_scrape(lambda: IN_PROGRESS.set(in_progress(app)))
        work = [*warm.start(), every(_POLL_S, events.poll)]
        await serve_application(app, at, work, stop, cancels=True, listens=listens)
    lost = await asyncio.to_thread(events.flush, settings.delivery_ms / 1000)
    if tracer:
        await asyncio.to_thread(tracer.close)
    if lost:
        logger.warning("%d events were lost", lost, extra={"action": "events_lost"})
