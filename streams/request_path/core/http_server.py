"""The HTTP server of the processes that users' requests pass through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streams.runtime.access import Guard, Listener
from streams.runtime.serving import DRAIN_S, serving
from streams.runtime.tasks import first_to_end

__all__ = ["new_application", "serve_application"]

_MAX_BODY_BYTES = 1024 * 1024


class _Answered(logging.Filter):
    """Leaves out what is no HTTP: it was answered, and anyone can send as much as they like."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is the server's own fault."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_SERVER = logging.getLogger("streams.http")
_SERVER.addFilter(_Answered())


def new_application(guard: Guard | None = None) -> web.Application:
    """An application without routes that refuses bodies of more than a mebibyte.

    Parameters
    ----------
    guard
        What its requests must bring; None on loopback, where anyone may ask.
    """
    middlewares = [guard.middleware()] if guard else []
    return web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=middlewares)


async def serve_application(
    app: web.Application,
    at: Listener,
    work: Iterable[Awaitable[Any]],
    stop: asyncio.Event,
    *,
    cancels: bool = False,
) -> None:
    """Serve beside this background work until `stop` is set; requests in flight are finished.

    `cancels` has a handler cancelled when its client goes away.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_SERVER,
        shutdown_timeout=DRAIN_S,
        handler_cancellation=cancels,
    )
    await serving(runner, at, lambda: first_to_end(work, stop))
