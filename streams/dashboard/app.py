"""The dashboard's HTTP server: the page, its changes as server-sent events, explanations, changes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web
from msgspec.json import Decoder

from streams.dashboard.changes import MOST_TEXT, change_of
from streams.dashboard.explained import explanation
from streams.dashboard.health import HealthWatch
from streams.dashboard.live import LivePage, Look
from streams.dashboard.page import prepare, render, static_file
from streams.dashboard.sections import SECTIONS
from streams.dashboard.sources import FactSources
from streams.dashboard.spans import SPANS
from streams.errors import ForemeshError, NameUnknown
from streams.pipeline.operator_word import publish
from streams.records.catalog import Catalog
from streams.request_path.core.http_server import serve_application
from streams.runtime.access import Listener
from streams.runtime.json_body import form_of
from streams.runtime.page_access import page_guard
from streams.runtime.serving import with_sentences
from streams.settings import Settings

__all__ = ["DashboardPages", "serve_dashboard"]

_log = logging.getLogger(__name__)

FIRST_S = 0.1  # for what is not read by then the first page does not wait
MOST_STREAMS = 64
MOST_NAME = 256  # characters of a pool or user that is asked for
_CHANGE = Decoder(dict[str, Any])
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class DashboardPages:
    """The handlers of the dashboard.

    Parameters
    ----------
    sources
        Where facts come from.
    """

    def __init__(self, sources: FactSources) -> None:
        self._sources = sources
        self._live = LivePage(sources)
        self._streams = 0
        self.stopping = asyncio.Event()

    def routes(self) -> Iterable[web.RouteDef]:
        """What is answered."""
        return (
            web.get("/", self.page),
            web.get("/events", self.events),
            web.get("/section/{name}", self.section),
            web.get("/explain", self.explain),
            web.get("/static/{name}", self.static),
            web.get("/healthz", self.healthz),
            web.post("/change", self.change),
        )

    async def page(self, request: web.Request) -> web.Response:
        """The whole page."""
        pools = await self._live.pools()
        look = _look(request, pools)
        drawn = await self._live.fragments(look, FIRST_S)
        return _html(
            render(
                "page.html",
                look=look,
                pools=pools,
                spans=SPANS.values(),
                parts={one.section.name: one.html for one in drawn},
            )
        )

    async def section(self, request: web.Request) -> web.Response:
        """One section."""
        section = SECTIONS.get(request.match_info["name"])
        if section is None:
            raise web.HTTPNotFound
        drawn = await self._live.fragment(section, _look(request, ()))
        return _html(drawn.html)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Sections that have changed, for as long as the page is open."""
        if self._streams >= MOST_STREAMS:
            raise web.HTTPServiceUnavailable(reason="too many pages are open")
        look = _look(request, ())
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        answer.headers["Cache-Control"] = "no-store"
        self._streams += 1
        try:
            await answer.prepare(request)
            await self._send_changes(answer, look)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._streams -= 1
        return answer

    async def _send_changes(self, answer: web.StreamResponse, look: Look) -> None:
        async for changed in self._live.changes(look):
            told = {one.section.name: one.html for one in changed}
            await answer.write(f"data: {json.dumps(told)}\n\n".encode())
            if self.stopping.is_set():
                return

    async def explain(self, request: web.Request) -> web.Response:
        """Why a command was given."""
        command_id = request.query.get("command", "")[:MOST_TEXT]
        grounds = await explanation(self._sources, command_id)
        template = "explanation.html" if "fragment" in request.query else "explain_page.html"
        return _html(render(template, command_id=command_id, **grounds))

    async def change(self, request: web.Request) -> web.Response:
        """Change what is in force in a pool, by whom and why."""
        try:
            body = await form_of(request, _CHANGE)
            asked = change_of(body)
            new = await asyncio.to_thread(
                publish, self._sources.settings, asked.pool, asked.word, asked.changed
            )
        except (NameUnknown, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except ForemeshError as error:
            return web.json_response({"error": str(error)}, status=503)
        _log.info(
            "%s changed pool %s: %s", new.by, new.pool, new.reason, extra={"action": "control"}
        )
        state = f"{new.mode.value}{', paused' if new.paused else ''}"
        return web.json_response({"said": f"In force: pool {new.pool} is {state}."})

    async def static(self, request: web.Request) -> web.Response:
        """A style sheet or script."""
        found = static_file(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, kind = found
        answer = web.Response(body=body, content_type=kind, charset="utf-8")
        answer.headers["Cache-Control"] = "no-cache"
        answer.enable_compression()
        return answer

    async def healthz(self, _: web.Request) -> web.Response:
        """Whether this process is there."""
        return web.json_response({"streams": self._streams})


def _html(text: str) -> web.Response:
    answer = web.Response(text=text, content_type="text/html")
    answer.headers["Cache-Control"] = "no-store"
    answer.enable_compression()
    return answer


def _look(request: web.Request, pools: Iterable[str]) -> Look:
    """What a request wants to see; by default the first pool, and the last hour."""
    asked = request.query
    pool = asked.get("pool") or next(iter(pools), "default")
    span = SPANS.get(asked.get("span", ""), SPANS["1h"])
    return Look(pool=pool[:MOST_NAME], span=span, who=asked.get("who", "")[:MOST_NAME])


@web.middleware
async def _with_headers(request: web.Request, handler: Any) -> web.StreamResponse:
    """What tells a browser to load nothing from elsewhere, and to show the page nowhere else."""
    answer: web.StreamResponse = await handler(request)
    if not answer.prepared:
        answer.headers.update(_HEADERS)
    return answer


async def serve_dashboard(
    settings: Settings,
    at: Listener,
    stop: asyncio.Event,
    *,
    metrics: Sequence[str] = (),
    catalog: Catalog | None = None,
) -> None:
    """Serve until `stop` is set.

    Parameters
    ----------
    settings
        Where Kafka and PostgreSQL are.
    at
        Where to listen; beyond loopback reading needs the token too.
    stop
        Ends it.
    metrics
        Prometheus endpoints of processes that are asked how they are.
    catalog
        In place of the one on Kafka.
    """
    prepare()
    health = HealthWatch(settings, metrics)
    sources = FactSources(settings, health, catalog)
    pages = DashboardPages(sources)
    guard = page_guard(settings, at)
    app = web.Application(middlewares=[guard.middleware(), _with_headers, with_sentences])
    app.add_routes(pages.routes())

    async def end_streams(_: web.Application) -> None:
        pages.stopping.set()

    app.on_shutdown.append(end_streams)
    try:
        await serve_application(app, at, [health.run(), sources.follow()], stop, cancels=True)
    finally:
        await sources.close()
