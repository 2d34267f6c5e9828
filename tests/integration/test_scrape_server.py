"""Metrics are served to whoever asks, however many others say nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Gauge

from streams.adapters.metrics import scrape_server
from streams.adapters.metrics.scrape_server import ScrapeServer
from streams.runtime.ports import free_port


@pytest.fixture
def port() -> Iterator[int]:
    registry = CollectorRegistry()
    Gauge("answer", "Of everything.", registry=registry).set(42)
    found = free_port()
    server = ScrapeServer(("127.0.0.1", found), registry)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    yield found
    server.shutdown()
    serving.join()
    server.server_close()


def is_ended(line: socket.socket) -> bool:
    line.settimeout(5)
    with suppress(ConnectionResetError):
        return line.recv(1) == b""
    return True


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nhost:"])
def test_a_connection_without_a_whole_request_is_ended(
    port: int, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape_server, "_PATIENCE_S", 0.2)
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(sent)
        assert is_ended(line)


def test_one_connection_too_many_is_ended_until_another_has(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape_server, "_MOST", 1)
    with socket.create_connection(("127.0.0.1", port)) as first:
        with socket.create_connection(("127.0.0.1", port)) as second:
            assert is_ended(second)
        first.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while not is_ended(first):
            pass
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"answer 42.0" in answer.read()
