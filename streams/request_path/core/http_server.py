"""The HTTP server of the processes that users' requests pass through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

from aiohttp import web

from streams.runtime.access import Guard, Listener
from streams.runtime.serving import DRAIN_S, HTTP_LOG, serving, with_sentences
from streams.runtime.tasks import first_to_end

__all__ = ["body_of", "new_application", "serve_application"]

_MAX_BODY_BYTES = 1024 * 1024
_MAX_COMPOSED_BYTES = 4 * _MAX_BODY_BYTES


def new_application(guard: Guard | None = None, *, composed: bool = False) -> web.Application:
    """An application without routes that refuses bodies of more than a mebibyte.

    Parameters
    ----------
    guard
        What its requests must bring; None on loopback, where anyone may ask.
    composed
        Whether a body may be of the gateway, with answers beside what the user sent: four then.
    """
    middlewares = [*([guard.middleware()] if guard else []), with_sentences]
    most = _MAX_COMPOSED_BYTES if composed else _MAX_BODY_BYTES
    return web.Application(client_max_size=most, middlewares=middlewares)


async def serve_application(
    app: web.Application,
    at: Listener,
    work: Iterable[Awaitable[Any]],
    stop: asyncio.Event,
    *,
    cancels: bool = False,
    decompress: bool = True,
    listens: asyncio.Event | None = None,
) -> None:
    """Serve beside this background work until `stop` is set; requests in flight are finished.

    `cancels` has a handler cancelled when its client goes away. `decompress` is for who reads
    bodies: who passes them on leaves them as their headers say that they are. `listens` is set
    once requests are taken.
    """

    def begin() -> Awaitable[None]:
        if listens is not None:
            listens.set()
        return first_to_end(work, stop)

    runner = web.AppRunner(
        app,
        access_log=None,
        logger=HTTP_LOG,
        shutdown_timeout=DRAIN_S,
        handler_cancellation=cancels,
        auto_decompress=decompress,
    )
    await serving(runner, at, begin, unbegun=work)


async def body_of(request: web.Request, timeout_s: float) -> bytes:
    """The body of a request; one that does not come in time is answered 408."""
    try:
        async with asyncio.timeout(timeout_s):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
