"""Connections of which nothing comes are ended; those that are used are not."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import ClientSession, web

from streams.runtime import serving as module
from streams.runtime.access import loopback_only
from streams.runtime.serving import serving, with_sentences

HALF = b"POST / HTTP/1.1\r\nhost: x\r\n"


async def whose(request: web.Request) -> web.Response:
    """The client's port: the same for a connection that is kept."""
    assert request.transport is not None
    return web.json_response(request.transport.get_extra_info("peername")[1])


@pytest.mark.parametrize("sent", [b"", HALF])
async def test_a_connection_without_a_whole_first_request_is_ended_and_another_is_kept(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.2)
    app = web.Application(middlewares=[with_sentences])
    app.router.add_get("/", whose)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ports = []

    async def clients() -> None:
        async with ClientSession() as session:
            for _ in range(3):
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    ports.append(await answer.json())
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                assert await asyncio.wait_for(reader.read(), 5) == b""
                writer.close()

    at = loopback_only(f"127.0.0.1:{port}", "test")
    await serving(web.AppRunner(app, access_log=None), at, clients)
    assert len(set(ports)) == 1
