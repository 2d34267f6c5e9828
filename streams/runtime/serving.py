"""Serving HTTP for as long as a process works."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streams.runtime.access import Listener

__all__ = ["DRAIN_S", "HTTP_LOG", "serving"]

logger = logging.getLogger(__name__)

DRAIN_S = 10.0  # for requests in flight at SIGTERM


class _Answered(logging.Filter):
    """Leaves out what is no HTTP: it was answered, and anyone can send as much as they like."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is the server's own fault."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


HTTP_LOG = logging.getLogger("streams.http")  # of every server of ours
HTTP_LOG.addFilter(_Answered())


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
