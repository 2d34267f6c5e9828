from __future__ import annotations

import socket
import urllib.request

import pytest

from streams.adapters.metrics.endpoint import serve
from streams.adapters.metrics.table import RECORDS
from streams.errors import SettingInvalid
from streams.runtime.ports import free_port


def test_metrics_are_served_on_loopback() -> None:
    port = free_port()
    RECORDS.labels("sink", "outcomes", "done").inc()
    serve("sink", port, "127.0.0.1")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()

    assert 'foremesh_records_total{outcome="done",stage="sink",topic="outcomes"}' in text


def test_a_port_that_is_taken_is_said_with_its_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingInvalid, match=f"FOREMESH_METRICS_PORT={port}"):
            serve("sink", port, "127.0.0.1")


def test_port_zero_serves_nothing() -> None:
    serve("sink", 0, "127.0.0.1")


def test_a_port_that_there_is_not_is_told_in_a_sentence() -> None:
    with pytest.raises(SettingInvalid, match="FOREMESH_METRICS_PORT=99999 cannot be listened on"):
        serve("sink", 99_999, "127.0.0.1")
