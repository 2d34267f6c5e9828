"""Connections of which nothing comes are ended; those that are used are not."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from aiohttp import ClientSession, web

from streams.request_path.core.http_server import body_of, new_application, serve_application
from streams.runtime import grpc_serving
from streams.runtime import serving as module
from streams.runtime.access import loopback_only
from streams.runtime.ports import free_port
from streams.runtime.serving import serving, with_sentences

HALF = b"POST / HTTP/1.1\r\nhost: x\r\n"


async def whose(request: web.Request) -> web.Response:
    """The client's port: the same for a connection that is kept."""
    assert request.transport is not None
    return web.json_response(request.transport.get_extra_info("peername")[1])


async def served(port: int, clients: Callable[[], Awaitable[None]]) -> None:
    app = web.Application(middlewares=[with_sentences])
    app.router.add_get("/", whose)
    at = loopback_only(f"127.0.0.1:{port}", "test")
    await serving(web.AppRunner(app, access_log=None), at, clients)


@pytest.mark.parametrize("sent", [b"", HALF])
async def test_a_connection_without_a_whole_first_request_is_ended_and_another_is_kept(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.2)
    port, ports = free_port(), []

    async def clients() -> None:
        async with ClientSession() as session:
            for _ in range(3):
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    ports.append(await answer.json())
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                assert await asyncio.wait_for(reader.read(), 5) == b""
                writer.close()

    await served(port, clients)
    assert len(set(ports)) == 1


async def test_one_connection_too_many_is_ended_until_another_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "most_connections", lambda: 2)
    port = free_port()

    async def clients() -> None:
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(lines[2][0].read(), 5) == b""
        for _, writer in (lines[0], lines[2]):
            writer.close()
            await writer.wait_closed()
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
            assert answer.status == 200
        lines[1][1].close()

    await served(port, clients)


async def test_a_grpc_server_has_a_most_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_serving, "most_connections", lambda: 2)
    server = grpc_serving.grpc_server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(lines[2][0].read(), 5) == b""
    for _, writer in lines:
        writer.close()
    await server.stop(0)


@pytest.mark.parametrize("decompress", [True, False])
async def test_a_body_is_left_packed_for_who_passes_it_on(*, decompress: bool) -> None:
    port, stop, packed = free_port(), asyncio.Event(), gzip.compress(b"body")
    app, got = new_application(), list[bytes]()

    async def echo(request: web.Request) -> web.Response:
        assert request.headers["content-encoding"] == "gzip"
        return web.Response(body=await body_of(request, 5.0))

    async def client() -> None:
        url, headers = f"http://127.0.0.1:{port}/", {"content-encoding": "gzip"}
        async with (
            ClientSession() as session,
            session.post(url, data=packed, headers=headers) as answer,
        ):
            got.append(await answer.read())
        stop.set()

    app.router.add_post("/", echo)
    at = loopback_only(f"127.0.0.1:{port}", "test")
    await serve_application(app, at, [client()], stop, decompress=decompress)
    assert got == [b"body" if decompress else packed]
