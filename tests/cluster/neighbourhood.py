"""What a cluster finds around it: Kafka and PostgreSQL, on its side of the wire."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness import CHECKOUT

from streams.devstack.kafka import KafkaServer
from streams.devstack.postgres import PostgresServer
from streams.runtime.ports import free_port

__all__ = ["Neighbourhood", "neighbourhood"]

PROTOCOLS = "PLAINTEXT:PLAINTEXT,PODS:PLAINTEXT,CONTROLLER:PLAINTEXT"


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Where they are, from here and from pods."""

    broker: KafkaServer
    kafka: str
    postgres: str
    kafka_of_pods: str
    postgres_of_pods: str


@contextlib.contextmanager
def neighbourhood(folder: Path, host: str) -> Iterator[Neighbourhood]:
    """Kafka and PostgreSQL at an address of this machine."""
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
        found = Neighbourhood(kafka, kafka.address, url, pods, there)
        with _forwarded(host, port, urlsplit(url).port or 0):
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
