"""Serving gRPC: what a client sends that is no message ends its call, and fills no log.

Of an exception that leaves a method grpc tells the client, and if the client is gone by then it
prints a traceback to standard error, whatever its logger is set to: clients' faults do not leave.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from streams.runtime.open_connections import FIRST_S, most_connections

__all__ = ["grpc_server"]

_Method = Callable[[Any, Any], Any]  # of a request, or an iterator of them, and a context
_Read = Callable[[Any], Any]

_IDLE_S = 60.0  # without a call; clients connect again
_MOST_CALLS = 1_000  # of a connection at once


class _NobodyLeftToAnswer(logging.Filter):
    """Leaves out that a client went away: clients can do so as often as they like."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is anything else."""
        return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError))


logging.getLogger("grpc._cython.cygrpc").addFilter(_NobodyLeftToAnswer())


class _ClientsFaults(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # untyped
    """Ends a call with its status when what came is no message, or no method is there for it."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        """The handler of a method, guarded; None when there is none."""
        handler = await continuation(details)
        return handler and _guarded(handler)


def grpc_server() -> grpc.aio.Server:
    """A server without services; of what clients may hold open nothing is unbounded."""
    options = (
        ("grpc.max_allowed_incoming_connections", most_connections()),
        ("grpc.server_handshake_timeout_ms", int(FIRST_S * 1_000)),
        ("grpc.max_connection_idle_ms", int(_IDLE_S * 1_000)),
        ("grpc.keepalive_time_ms", int(_IDLE_S * 1_000)),  # ends those whose peer is gone
        ("grpc.max_concurrent_streams", _MOST_CALLS),
    )
    return grpc.aio.server(interceptors=(_ClientsFaults(),), options=options)


def _guarded(handler: Any) -> Any:
    """A handler that ends the call where the given one fails by its client's fault."""
    sides = handler.request_streaming, handler.response_streaming
    kind = "_".join("stream" if streamed else "unary" for streamed in sides)
    method, read = getattr(handler, kind), handler.request_deserializer
    guard = _guarded_generator if inspect.isasyncgenfunction(method) else _guarded_coroutine
    if handler.request_streaming:  # its messages are read while the method runs
        guarded = guard(method, lambda messages: messages)
    else:
        guarded, read = guard(method, read), None
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(guarded, read, handler.response_serializer)


def _guarded_coroutine(method: _Method, read: _Read) -> _Method:
    async def answer(request: Any, context: Any) -> Any:
        async with _told(context):
            return await method(read(request), context)

    return answer


def _guarded_generator(method: _Method, read: _Read) -> _Method:
    async def answers(request: Any, context: Any) -> AsyncIterator[Any]:
        async with _told(context), aclosing(method(read(request), context)) as made:
            async for answer in made:
                yield answer

    return answers


@asynccontextmanager
async def _told(context: Any) -> AsyncIterator[None]:
    """Tell the client of its fault."""
    try:
        yield
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "these bytes are no such message")
    except NotImplementedError:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this method is not served")
