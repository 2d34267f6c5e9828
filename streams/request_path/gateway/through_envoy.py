"""The gateway behind Envoy: it orchestrates, and calls every constituent through Envoy.

So every constituent is a hit or a miss of its own. It claims nothing and tells Kafka nothing: the
access log does, from the header `server-timing` of its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from yarl import URL

from streams.adapters import metrics
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, Outcome, Part, Request
from streams.records.catalog import Catalog, Composite
from streams.request_path.core import server_timing
from streams.request_path.core.headers import MAX_BODY_BYTES, TIER_HEADER, USER_HEADER
from streams.request_path.core.orchestration import CompositeRun, ConstituentFailed
from streams.request_path.core.retries import IDEMPOTENT_HEADER
from streams.request_path.core.start_up_times import StartUpTimes
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.request_path.gateway.routes import RequestHandler, add_routes
from streams.runtime.serving import DRAIN_S, serving
from streams.runtime.tasks import first_to_end
from streams.settings import Settings

__all__ = ["EnvoyGatewayProcess"]


@dataclass(slots=True, eq=False, kw_only=True)
class _EnvoyRun(CompositeRun):
    """A run whose constituents are called at one address, by their names."""

    url: str
    user: str
    tier: str

    def end(self) -> None:
        """Nothing is held."""

    async def call(self, service: str, inputs: dict[str, Any], is_last: bool) -> None:
        """Call a constituent; what answered, and how warm it was, stands in the headers."""
        del is_last
        began = time.perf_counter()
        url = URL(f"{self.url}/{quote(service, safe='')}", encoded=True)
        headers = {"x-request-id": self.request_id, USER_HEADER: self.user, TIER_HEADER: self.tier}
        if self.idempotent:
            headers[IDEMPOTENT_HEADER] = "1"
        try:
            told, answer = await self.post(service, url, inputs, headers)
        except aiohttp.ClientConnectionError as error:
            raise ConstituentFailed(f"{service} cannot be asked: {error}") from error
        took_ms = round((time.perf_counter() - began) * 1000)
        self.parts[service] = self._merged(service, answer, took_ms)
        if answer.status == 503:
            after = answer.headers.get("Retry-After", "1")
            said = told.get("error") if isinstance(told, dict) else None
            raise StandardPathRefused(
                said or f"{service} is not available",
                retry_after_s=int(after) if after.isdigit() else 1,
            )
        if answer.status >= 400:
            raise ConstituentFailed(f"{service} answered with {answer.status}")
        self.answers[service] = told

    def _merged(self, service: str, answer: aiohttp.ClientResponse, took_ms: int) -> Part:
        header = answer.headers.get("server-timing", "")
        told = next((p for p in server_timing.parse_parts(header) if p.service == service), None)
        part = told or Part(service=service, warm=answer.headers.get("x-foremesh") == "hit")
        before = self.parts.get(service, part)
        served_ms = max(0, took_ms - part.wait_ms)
        return Part(
            service=service,
            warm=before.warm,  # one that comes again in a later step was warmed by this request
            instance_id=part.instance_id,
            wait_ms=before.wait_ms,
            serve_ms=served_ms + (before.serve_ms if service in self.parts else 0),
            warm_up_ms=before.warm_up_ms,
        )


class EnvoyRequestHandler(RequestHandler):
    """Decides nothing: Envoy does, for every constituent.

    Parameters
    ----------
    pool, deadline_ms
        See `RequestHandler`.
    watch, session, url
        The catalogue, and the way to Envoy.
    """

    def __init__(
        self,
        pool: str,
        deadline_ms: int,
        *,
        watch: CatalogAndInstanceWatch,
        session: aiohttp.ClientSession,
        url: str,
    ) -> None:
        super().__init__(pool, deadline_ms)
        self._watch = watch
        self._session = session
        self._url = url
        self._warm_ups = StartUpTimes()

    @property
    def catalog(self) -> Catalog:
        """The catalogue as it stands."""
        return self._watch.catalog

    def observe(self, news: Iterable[Instance]) -> None:
        """Learn start-up times."""
        for instance in news:
            self._warm_ups.observe(instance)

    def begin(self, composite: Composite, asked: Request, *, idempotent: bool) -> _EnvoyRun:
        """Begin with nothing claimed."""
        return _EnvoyRun(
            request_id=asked.request_id,
            steps=composite.steps,
            deadline_ms=asked.at_ms + self.deadline_ms,
            body={"request_id": asked.request_id, "parameters": dict(asked.parameters)},
            session=self._session,
            idempotent=idempotent,
            url=self._url,
            user=asked.user,
            tier=asked.tier,
        )

    def usual_ms(self, names: tuple[str, ...]) -> dict[str, int]:
        """Start-up times as measured."""
        return self._warm_ups.of(names, self.catalog)

    def tell(self, record: Request | Outcome) -> None:
        """Leave it to the access log."""

    def health(self) -> dict[str, int]:
        """Nothing waits here."""
        return {}


class EnvoyGatewayProcess:
    """The process.

    Parameters
    ----------
    settings
        Where Kafka is.
    pool, deadline_ms
        Whose requests, and what they may take.
    through
        URL of Envoy's listener for orchestrators.
    """

    def __init__(self, settings: Settings, pool: str, deadline_ms: int, through: str) -> None:
        self._settings = settings
        self._pool = pool
        self._deadline_ms = deadline_ms
        self._url = through.rstrip("/")

    async def run(self, listen: str, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; what is being served is finished."""
        metrics.serve(self._settings.metrics_port)
        watch = CatalogAndInstanceWatch(self._settings)
        await watch.open()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            desk = EnvoyRequestHandler(
                self._pool, self._deadline_ms, watch=watch, session=session, url=self._url
            )
            desk.observe(watch.news())
            app = web.Application(client_max_size=MAX_BODY_BYTES)
            add_routes(app, desk)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_S)
            work = [watch.follow_catalog(), watch.follow_instances(desk.observe)]
            await serving(runner, listen, "gateway", lambda: first_to_end(work, stop))
        watch.close()
