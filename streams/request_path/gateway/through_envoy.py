"""The gateway behind Envoy: it orchestrates, and calls every constituent through Envoy.

So Envoy decides a hit or a miss for each constituent. This gateway claims nothing and sends nothing
to Kafka: the access log service does, from the header `server-timing` of its answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Raw
from yarl import URL

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.metrics import endpoint
from streams.adapters.metrics.table import IN_PROGRESS
from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance, Outcome, Part, Request
from streams.records.catalog import Catalog, Composite
from streams.request_path.core import server_timing
from streams.request_path.core.headers import (
    IDEMPOTENT_HEADER,
    RESULT_HEADER,
    TIER_HEADER,
    USER_HEADER,
    whole_in,
)
from streams.request_path.core.http_server import new_application, serve_application
from streams.request_path.core.orchestration import CompositeRun, ConstituentFailed
from streams.request_path.core.start_up_times import StartUpTimes
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.request_path.gateway.routes import RequestHandler, add_routes, in_progress
from streams.runtime.access import Listener
from streams.settings import Settings

__all__ = ["EnvoyRequestHandler", "merge_parts", "serve_gateway_behind_envoy"]

_OBJECT = msgspec.json.Decoder(dict[str, Any])


@dataclass(slots=True, eq=False, kw_only=True)
class _EnvoyRun(CompositeRun):
    """A run that calls every constituent at one URL, by its name."""

    url: str
    user: str
    tier: str

    def close(self) -> None:
        """Do nothing: nothing is claimed."""

    async def call(self, constituent: str, body: bytes, is_last: bool) -> None:
        """Call a constituent; the headers say which instance answered, and whether it was warm."""
        del is_last
        began = time.perf_counter()
        url = URL(f"{self.url}/{quote(constituent, safe='')}", encoded=True)
        headers = {"x-request-id": self.request_id, USER_HEADER: self.user, TIER_HEADER: self.tier}
        if self.idempotent:
            headers[IDEMPOTENT_HEADER] = "1"
        try:
            answer, response = await self.post(constituent, url, body, headers)
        except aiohttp.ClientConnectionError as error:
            raise ConstituentFailed(f"{constituent} cannot be reached: {error}") from error
        took_ms = round((time.perf_counter() - began) * 1000)
        part = _part_in(response, constituent)
        self.parts[constituent] = merge_parts(self.parts.get(constituent), part, took_ms)
        if response.status == 503 and not part.instance_id:
            raise _refusal(constituent, answer, response)
        self.keep(constituent, answer, response.status)


def _part_in(response: aiohttp.ClientResponse, constituent: str) -> Part:
    header = response.headers.get("server-timing", "")
    for part in server_timing.parse_parts(header):
        if part.service == constituent:
            return part
    return Part(service=constituent, warm=response.headers.get(RESULT_HEADER) == "hit")


def _refusal(
    constituent: str, answer: Raw, response: aiohttp.ClientResponse
) -> StandardPathRefused:
    try:
        reason = _OBJECT.decode(answer)["error"]
    except (msgspec.DecodeError, KeyError, RecursionError):
        reason = ""
    return StandardPathRefused(
        reason or f"{constituent} is not available",
        retry_after_s=whole_in(response.headers.get("Retry-After", ""), 1),
    )


def merge_parts(before: Part | None, part: Part, took_ms: int) -> Part:
    """What a constituent did, if it may have been called in an earlier step.

    Parameters
    ----------
    before
        The part as of the earlier step, if there was one.
    part
        The part of this call, as its answer says.
    took_ms
        How long this call took, with its wait.
    """
    first = before or part
    served_ms = max(0, took_ms - part.wait_ms)
    return Part(
        service=part.service,
        warm=first.warm,  # called again in a later step, it was warmed by this request
        instance_id=part.instance_id,
        wait_ms=first.wait_ms,
        serve_ms=served_ms + (before.serve_ms if before else 0),
        warm_up_ms=first.warm_up_ms,
    )


class EnvoyRequestHandler(RequestHandler):
    """Decides nothing: Envoy does, for every constituent.

    Parameters
    ----------
    pool, deadline_ms
        See `RequestHandler`.
    watch
        The catalogue.
    session, url
        Connections to Envoy, and its listener for orchestrators.
    broker
        Whether Kafka answers, for health checks.
    """

    def __init__(
        self,
        pool: str,
        deadline_ms: int,
        *,
        watch: CatalogAndInstanceWatch,
        session: aiohttp.ClientSession,
        url: str,
        broker: BrokerWatch,
    ) -> None:
        super().__init__(pool, deadline_ms)
        self._watch = watch
        self._session = session
        self._broker = broker
        self._url = url.rstrip("/")
        self._start_up_times = StartUpTimes()

    @property
    def catalog(self) -> Catalog:
        """The current catalogue."""
        return self._watch.catalog

    @property
    def trusts_tier_header(self) -> bool:
        """Always: Envoy removes it at the edge where the catalogue does not trust it."""
        return True

    def observe(self, changed: Iterable[Instance]) -> None:
        """Measure start-up times."""
        for instance in changed:
            self._start_up_times.observe(instance)

    def start_run(
        self,
        composite: Composite,
        request: Request,
        values: Mapping[str, Raw],
        *,
        idempotent: bool,
    ) -> _EnvoyRun:
        """Start with nothing claimed."""
        return _EnvoyRun(
            request_id=request.request_id,
            steps=composite.steps,
            deadline_ms=request.at_ms + self.deadline_ms,
            parameters=request.parameters,
            values=values,
            session=self._session,
            idempotent=idempotent,
            url=self._url,
            user=request.user,
            tier=request.tier,
        )

    def start_up_times(self, names: tuple[str, ...]) -> dict[str, int]:
        """Start-up times as measured."""
        return self._start_up_times.of(names, self.catalog)

    def publish(self, record: Request | Outcome) -> None:
        """Do nothing: the access log service publishes both."""

    def health(self) -> dict[str, int]:
        """Whether Kafka answers."""
        return {"kafka": int(not self._broker.away)}


async def serve_gateway_behind_envoy(
    settings: Settings,
    *,
    pool: str,
    deadline_ms: int,
    envoy: str,
    at: Listener,
    stop: asyncio.Event,
) -> None:
    """Orchestrate the composites of one pool until `stop` is set.

    Parameters
    ----------
    settings
        Where Kafka is.
    pool, deadline_ms
        Name of the pool, and most that a request may take.
    envoy
        URL of Envoy's listener for orchestrators.
    at
        Where it may listen.
    stop
        Ends the process; requests in flight are finished.
    """
    listens = asyncio.Event()
    port, host = settings.metrics_port, settings.metrics_host
    endpoint.serve("mesh compose", port, host, ready=listens.is_set)
    broker = BrokerWatch(settings)
    broker.start()
    watch = await CatalogAndInstanceWatch.open(settings)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        handler = EnvoyRequestHandler(
            pool, deadline_ms, watch=watch, session=session, url=envoy, broker=broker
        )
        handler.observe(watch.take_changed())
        app = new_application()
        add_routes(app, handler)
        endpoint.before_scrape(lambda: IN_PROGRESS.set(in_progress(app)))
        work = [watch.follow_catalog(), watch.follow_instances(handler.observe)]
        await serve_application(app, at, work, stop, cancels=True, listens=listens)
    watch.close()
