"""An HTTP server for as long as some work runs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from streams.runtime.addresses import address

__all__ = ["DRAIN_S", "serving"]

logger = logging.getLogger(__name__)

DRAIN_S = 10.0  # for requests in flight when the process is told to end


async def serving(
    runner: web.AppRunner | web.ServerRunner,
    listen: str,
    what: str,
    until: Callable[[], Awaitable[None]],
) -> None:
    """Serve at `listen` while `until` runs; what is being served then is finished."""
    await runner.setup()
    host, port = address(listen)
    await web.TCPSite(runner, host, port).start()
    logger.info("The %s listens on %s", what, listen, extra={"action": "open"})
    try:
        await until()
    finally:
        await runner.cleanup()
