"""Serving HTTP for as long as a process works."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from streams.errors import SettingInvalid
from streams.runtime.access import Listener
from streams.runtime.open_connections import FIRST_S, RefusedConnection, most_connections

__all__ = ["DRAIN_S", "HTTP_LOG", "binding", "heard", "impatient", "serving", "with_sentences"]

logger = logging.getLogger(__name__)

DRAIN_S = 10.0  # for requests in flight at SIGTERM
_MOST_PATH = 256  # characters of a path in a sentence

# Connections without a request so far, and what ends each.
_SILENT: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}


@web.middleware
async def with_sentences(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer in JSON what has no route or is too large, as everything else is answered."""
    heard(request)
    try:
        if (request.content_length or 0) > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size)
        answer: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        sentence = _sentence(error, request)
        return web.json_response({"error": sentence}, status=error.status, headers=headers)
    return answer


def heard(request: web.BaseRequest) -> None:
    """Take note of a request: its connection is not silent."""
    if first := _SILENT.pop(request.protocol, None):
        first.cancel()


def _sentence(error: web.HTTPException, request: web.Request) -> str:
    path, most = request.path[:_MOST_PATH], request.client_max_size
    return {
        404: f"there is nothing at {path!r}",
        405: f"{request.method} is not for {path!r}",
        413: f"the body is larger than {most} bytes",
    }.get(error.status, error.reason)


# What is no HTTP, a body that is not encoded as its headers say, a client that is gone.
_CLIENTS_FAULTS = HttpProcessingError, web.RequestPayloadError, ConnectionResetError


class _Answered(logging.Filter):
    """Leaves out clients' faults: they were answered, and anyone can make as many as they like."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is the server's own fault."""
        return not (record.exc_info and isinstance(record.exc_info[1], _CLIENTS_FAULTS))


HTTP_LOG = logging.getLogger("streams.http")  # of every server of ours
HTTP_LOG.addFilter(_Answered())


@contextlib.contextmanager
def binding(at: Listener, unbegun: Iterable[Awaitable[Any]] = ()) -> Iterator[None]:
    """Tell in a sentence that an address cannot be listened on; close work that then never begins."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # the second from gRPC
        for one in unbegun:
            if inspect.iscoroutine(one):
                one.close()
        why = getattr(error, "strerror", None) or error
        raise SettingInvalid(
            f"the {at.what} cannot listen on {at.address}: {why}; name another address"
        ) from None


async def serving(
    runner: web.AppRunner | web.ServerRunner,
    at: Listener,
    until: Callable[[], Awaitable[None]],
    *,
    unbegun: Iterable[Awaitable[Any]] = (),
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
    unbegun
        What `until` is to run; closed if nothing can listen there.
    """
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    with binding(at, unbegun):
        listening = await loop.create_server(
            impatient(runner.server),
            *at.place,
            ssl=at.tls,
            ssl_handshake_timeout=FIRST_S if at.tls else None,
        )
    logger.info("The %s listens on %s", at.what, at.address, extra={"action": "open"})
    try:
        await until()
    finally:
        listening.close()
        await runner.cleanup()


def impatient(server: web.Server) -> Callable[[], asyncio.Protocol]:
    """Accept so many connections at once, and end those whose first request is not there in time.

    aiohttp waits for it without end. Handlers have to call `heard`.
    """
    loop, most = asyncio.get_running_loop(), most_connections()

    def accept() -> asyncio.Protocol:
        if len(server.connections) >= most:
            return RefusedConnection()
        protocol = server()
        _SILENT[protocol] = loop.call_later(FIRST_S, _end, protocol)
        return protocol

    return accept


def _end(protocol: asyncio.Protocol) -> None:
    del _SILENT[protocol]
    if isinstance(protocol, web.RequestHandler):
        protocol.force_close()
