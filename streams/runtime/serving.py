"""Serving HTTP for as long as a process works."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, TransferEncodingError

from streams.runtime.addresses import address

__all__ = ["BODY_UNREADABLE", "DRAIN_S", "serving"]

logger = logging.getLogger(__name__)

# What reading a body raises that is not encoded as its headers say.
BODY_UNREADABLE = web.RequestPayloadError, ContentEncodingError, TransferEncodingError
DRAIN_S = 10.0  # for requests in flight at SIGTERM


async def serving(
    runner: web.AppRunner | web.ServerRunner,
    listen: str,
    what: str,
    until: Callable[[], Awaitable[None]],
) -> None:
    """Serve at `listen` until `until` returns; requests in flight are finished.

    Parameters
    ----------
    runner
        The application or server; its `shutdown_timeout` bounds the requests in flight.
    listen
        `host:port`.
    what
        What listens, for the log.
    until
        The work of the process.
    """
    await runner.setup()
    host, port = address(listen)
    await web.TCPSite(runner, host, port).start()
    logger.info("The %s listens on %s", what, listen, extra={"action": "open"})
    try:
        await until()
    finally:
        await runner.cleanup()
