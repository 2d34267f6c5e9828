from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from streams.dashboard.scrape import scraped, told_by

TEXT = """\
# TYPE foremesh_lag gauge
foremesh_lag{stage="sink",partition="0"} 2.0
foremesh_lag{stage="sink",partition="1"} 3.0
# TYPE foremesh_failed_ticks counter
foremesh_failed_ticks_total{stage="allocator",partition="0"} 1.0
# TYPE foremesh_kafka_up gauge
foremesh_kafka_up 1.0
"""


def test_a_process_tells_its_lag_and_whether_it_has_kafka() -> None:
    told = told_by("metrics worker", TEXT)

    assert told.ok
    assert told.says == "Kafka answers, 5 records behind, 1 ticks have failed"


def test_a_process_that_has_lost_kafka_is_wrong() -> None:
    told = told_by("metrics worker", TEXT.replace("foremesh_kafka_up 1.0", "foremesh_kafka_up 0.0"))

    assert told.state == "wrong"
    assert told.says.startswith("has lost Kafka")


def test_what_tells_nothing_of_foremesh_answers() -> None:
    assert told_by("metrics x", "").says == "answers"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/metrics", "nothing", "file:///nothing", "http://[::1"]
)
async def test_an_endpoint_that_does_not_answer_is_wrong_with_its_address(url: str) -> None:
    (told,) = await scraped([url])

    assert told.state == "wrong"
    assert url in told.says


@asynccontextmanager
async def endpoint(*, told: bytes, length: int) -> AsyncIterator[str]:
    """The URL of something that tells this, again and again until nobody listens."""

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        while not reader.at_eof():
            writer.write(told)
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.1)
        writer.close()

    async with await asyncio.start_server(tell, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/metrics"


async def test_an_endpoint_whose_answer_does_not_end_is_given_up() -> None:
    async with endpoint(told=b"#", length=100_000) as url, asyncio.timeout(20):
        (told,) = await scraped([url])

    assert told.says.endswith("does not answer in 2 s")


async def test_an_endpoint_of_something_else_is_told_as_what_it_is() -> None:
    async with endpoint(told=b"<html>", length=6) as url:
        (told,) = await scraped([url])

    assert told.state == "wrong"
    assert "answers with no metrics" in told.says
