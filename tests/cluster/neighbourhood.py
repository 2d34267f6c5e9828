"""What a cluster finds around it: Kafka, PostgreSQL and names of Services, on its side of the wire."""

from __future__ import annotations

import asyncio
import contextlib
import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from harness import CHECKOUT

from streams.devstack.kafka import KafkaServer
from streams.devstack.postgres import PostgresServer
from streams.runtime.ports import free_port

__all__ = ["Neighbourhood", "neighbourhood"]

PROTOCOLS = "PLAINTEXT:PLAINTEXT,PODS:PLAINTEXT,CONTROLLER:PLAINTEXT"
ADDRESS, INTERNET = 1, 1  # the type and the class of DNS that are answered


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Where they are, from here and from pods."""

    kafka: str
    postgres: str
    kafka_of_pods: str
    postgres_of_pods: str
    services: dict[str, str] = field(default_factory=dict)  # addresses, by name


@contextlib.contextmanager
def neighbourhood(folder: Path, host: str) -> Iterator[Neighbourhood]:
    """Kafka, PostgreSQL and a name server at an address of this machine."""
    pods = f"{host}:{free_port()}"
    protocols = {"listener.security.protocol.map": PROTOCOLS}
    kafka = KafkaServer(
        folder / "kafka", CHECKOUT / "build", listeners=[f"PODS://{pods}"], properties=protocols
    )
    postgres = PostgresServer(folder / "postgres")
    try:
        postgres.launch(tied=True)
        kafka.launch(tied=True)
        postgres.wait()
        kafka.wait()
        url, port = postgres.url(), free_port()
        there = url.replace(f"127.0.0.1:{urlsplit(url).port}", f"{host}:{port}")
        found = Neighbourhood(kafka.address, url, pods, there)
        with _forwarded(host, port, urlsplit(url).port or 0), _named(host, found.services):
            yield found
    finally:
        kafka.stop()
        postgres.stop()


@contextlib.contextmanager
def _forwarded(host: str, port: int, to: int) -> Iterator[None]:
    """What connects to this port reaches another one of loopback."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(copy(reader, outer), copy(inner, writer))

    async def run() -> None:
        async with await asyncio.start_server(serve, host, port):
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextlib.contextmanager
def _named(host: str, services: Mapping[str, str]) -> Iterator[None]:
    """A name server that knows Services and no others."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, reply = self.request
            reply.sendto(_answer(data, services), self.client_address)

    with socketserver.ThreadingUDPServer((host, 53), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _answer(data: bytes, services: Mapping[str, str]) -> bytes:
    """The answer to a question of DNS (RFC 1035): the address of a Service, nothing, or no such name."""
    labels, at = [], 12
    while size := data[at]:
        labels.append(data[at + 1 : at + 1 + size].decode())
        at += 1 + size
    (kind,) = struct.unpack_from(">H", data, at + 1)
    question = data[12 : at + 5]
    address = services.get(".".join(labels).removesuffix(".svc.cluster.local"))
    found = address is not None and kind == ADDRESS
    flags = 0x8180 if address is not None else 0x8183
    head = data[:2] + struct.pack(">HHHHH", flags, 1, found, 0, 0)
    if not found:
        return head + question
    packed = bytes(map(int, str(address).split(".")))
    return head + question + struct.pack(">HHHIH", 0xC00C, kind, INTERNET, 1, 4) + packed
