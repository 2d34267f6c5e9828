"""Serving HTTP for as long as a process works."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, TransferEncodingError

from streams.runtime.access import Listener

__all__ = ["BODY_UNREADABLE", "DRAIN_S", "serving"]

logger = logging.getLogger(__name__)

# What reading a body raises that is not encoded as its headers say.
BODY_UNREADABLE = web.RequestPayloadError, ContentEncodingError, TransferEncodingError
DRAIN_S = 10.0  # for requests in flight at SIGTERM


async def serving(
    runner: web.AppRunner | web.ServerRunner,
    at: Listener,
    until: Callable[[], Awaitable[None]],
) -> None:
    """Serve at an address until `until` returns; requests in flight are finished.

    Parameters
    ----------
    runner
        The application or server; its `shutdown_timeout` bounds the requests in flight.
    at
        Where it may listen.
    until
        The work of the process.
    """
    await runner.setup()
    await web.TCPSite(runner, *at.place, ssl_context=at.tls).start()
    logger.info("The %s listens on %s", at.what, at.address, extra={"action": "open"})
    try:
        await until()
    finally:
        await runner.cleanup()
