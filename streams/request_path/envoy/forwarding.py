"""What a proxy passes on: the end-to-end headers of a request, and an answer as it arrives."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

__all__ = ["broken_off", "end_to_end_headers", "response_to", "stream_body"]

_CHUNK = 64 * 1024
# Of one connection (RFC 9110, 7.6.1), or set anew.
_HOP_BY_HOP = {
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip


def end_to_end_headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that a proxy passes on: all but those of one connection."""
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in _HOP_BY_HOP)


def response_to(answer: aiohttp.ClientResponse, more: Mapping[str, str]) -> web.StreamResponse:
    """A response with the status and headers of an answer, and more headers."""
    headers = end_to_end_headers(answer.headers)
    headers.update(more)
    return web.StreamResponse(status=answer.status, headers=headers)


async def stream_body(
    answer: aiohttp.ClientResponse, request: web.Request, response: web.StreamResponse
) -> None:
    """Send a response with the body of an answer, as it arrives."""
    await response.prepare(request)
    async for chunk in answer.content.iter_chunked(_CHUNK):
        await response.write(chunk)
    await response.write_eof()


def broken_off(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """End a connection in the midst of an answer: its client is gone, or the instance."""
    if request.transport is not None:
        request.transport.abort()
    return response
