"""The gateway as a process: the desk, what it knows, and the way out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from streams.adapters import metrics
from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.request_path.core.event_buffer import EventBuffer
from streams.request_path.core.headers import MAX_BODY_BYTES
from streams.request_path.core.retries import IDLE_TIMEOUT_S
from streams.request_path.core.warm_pool import WarmPool
from streams.request_path.gateway.claiming import ClaimingRequestHandler
from streams.request_path.gateway.routes import add_routes
from streams.runtime.serving import DRAIN_S, serving
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings

__all__ = ["GatewayConfig", "GatewayProcess"]

logger = logging.getLogger(__name__)

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Parameters of a gateway."""

    pool: str = "default"
    queue: int = 64  # requests that wait for one constituent
    deadline_ms: int = 10_000


class GatewayProcess:
    """Serves the composites of one pool.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    config
        Pool and bounds.
    """

    def __init__(self, settings: Settings, config: GatewayConfig) -> None:
        self._settings = settings
        self._config = config
        self._warm = WarmPool(settings, config.pool, config.queue)
        self._events = EventBuffer(producer_config(settings), codec.encode, settings.topic)

    async def run(self, listen: str, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then finish what is being served and tell Kafka."""
        metrics.serve(self._settings.metrics_port)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector) as session:
            await self._warm.open(session)
            desk = ClaimingRequestHandler(
                self._config.pool,
                self._config.deadline_ms,
                warm=self._warm,
                session=session,
                events=self._events,
            )
            app = web.Application(client_max_size=MAX_BODY_BYTES)
            add_routes(app, desk)
            work = [*self._warm.work(), every(_POLL_S, self._poll)]
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_S)
            await serving(runner, listen, "gateway", lambda: first_to_end(work, stop))
            await self._warm.close()
        lost = await asyncio.to_thread(self._events.flush, self._settings.delivery_ms / 1000)
        if lost:
            logger.warning("%d events were lost", lost, extra={"action": "events_lost"})

    async def _poll(self) -> None:
        self._events.poll()
