"""The gateway as a process: the desk, its followers, and the way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
from aiohttp import web

from streams.adapters import codec, metrics
from streams.adapters.kafka import producer_config
from streams.gateway.claims import Claims
from streams.gateway.events import Events
from streams.gateway.routes import MOST_BYTES, Desk, add_routes
from streams.gateway.standard import StandardPath
from streams.provisioners.base import Use
from streams.provisioners.service import address
from streams.provisioners.views import CatalogView, InstanceView
from streams.settings import Settings

__all__ = ["Config", "Gateway"]

logger = logging.getLogger(__name__)

_FOLLOW_S = 0.05  # between two looks at `instances`
_CATALOG_S = 5.0
_REPORT_S = 0.02
_RENEW_S = 5.0  # so often all that serves is reported, so that a lost report does no harm
_POLL_S = 0.05
_DRAIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Parameters of a gateway."""

    pool: str = "default"
    queue: int = 64  # requests that wait for one constituent
    deadline_ms: int = 10_000


class Gateway:
    """Serves the composites of one pool.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    config
        Pool and bounds.
    """

    def __init__(self, settings: Settings, config: Config) -> None:
        self._settings = settings
        self._config = config
        self._catalog = CatalogView(settings)
        self._instances = InstanceView(settings)
        self._claims = Claims(config.pool, self._concurrency)
        self._events = Events(producer_config(settings), codec.encode, settings.topic)
        self._unsent: list[Use] = []

    async def run(self, listen: str, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then finish what is being served and tell Kafka."""
        metrics.serve(self._settings.metrics_port)
        await asyncio.to_thread(self._catalog.read)
        await asyncio.to_thread(self._instances.read)
        self._observe()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as self._session:
            desk = self._desk()
            app = web.Application(client_max_size=MOST_BYTES)
            add_routes(app, desk)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=_DRAIN_S)
            await runner.setup()
            host, port = address(listen)
            await web.TCPSite(runner, host, port).start()
            logger.info("The gateway listens on %s", listen, extra={"action": "open"})
            try:
                await self._until(stop, desk)
            finally:
                await runner.cleanup()
                await desk.standard.close()
        lost = await asyncio.to_thread(self._events.flush, self._settings.delivery_ms / 1000)
        if lost:
            logger.warning("%d events were lost", lost, extra={"action": "events_lost"})
        self._catalog.close()
        self._instances.close()

    def _desk(self) -> Desk:
        standard = StandardPath(
            self._claims,
            self._session,
            self._settings.provisioner.rstrip("/"),
            concurrency=self._concurrency,
            queue=self._config.queue,
        )
        return Desk(
            pool=self._config.pool,
            deadline_ms=self._config.deadline_ms,
            catalog=self._catalog.now,
            claims=self._claims,
            standard=standard,
            session=self._session,
            events=self._events,
        )

    async def _until(self, stop: asyncio.Event, desk: Desk) -> None:
        async def follow_catalog() -> None:
            await self._catalog.follow()
            desk.catalog = self._catalog.now

        work = [
            asyncio.create_task(_every(_FOLLOW_S, self._follow)),
            asyncio.create_task(_every(_CATALOG_S, follow_catalog)),
            asyncio.create_task(_every(_REPORT_S, self._report)),
            asyncio.create_task(_every(_RENEW_S, self._renew)),
            asyncio.create_task(_every(_POLL_S, self._poll)),
            asyncio.create_task(stop.wait()),
        ]
        done, pending = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()

    # ------------------------------------------------------------------ followers

    async def _follow(self) -> None:
        await self._instances.follow()
        self._observe()

    def _observe(self) -> None:
        for instance in self._instances.news():
            self._claims.observe(instance)

    async def _report(self) -> None:
        await self._tell(self._claims.reports())

    async def _renew(self) -> None:
        await self._tell(self._claims.reports(everything=True))

    async def _tell(self, uses: Iterable[Use]) -> None:
        """Report use to the provisioner; what does not arrive is reported with the next."""
        body = {"uses": [asdict(use) for use in uses]}
        if not body["uses"]:
            return
        limit = aiohttp.ClientTimeout(total=2)
        url = f"{self._settings.provisioner.rstrip('/')}/use"
        try:
            async with self._session.post(url, json=body, timeout=limit) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError):
            self._claims.unreport(uses)

    async def _poll(self) -> None:
        self._events.poll()

    def _concurrency(self, service: str) -> int:
        found = self._catalog.now.constituents.get(service)
        return found.concurrency if found else 1


async def _every(seconds: float, work: Callable[[], Awaitable[Any]]) -> None:
    while True:
        await work()
        await asyncio.sleep(seconds)
