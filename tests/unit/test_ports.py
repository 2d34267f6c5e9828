from __future__ import annotations

import socket

import pytest

from streams.runtime import ports
from streams.runtime.ports import free_port, free_ports

OUTGOING_FROM = 32_768  # Linux; macOS and Windows begin higher


def test_ports_chosen_one_after_another_differ() -> None:
    assert len({free_port() for _ in range(200)}) == 200
    assert len(set(free_ports(20))) == 20


def test_no_port_is_one_that_an_outgoing_connection_may_be_given() -> None:
    assert max(free_ports(200)) < OUTGOING_FROM


def test_a_port_on_which_somebody_listens_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_PORTS", range(port, port + 1))

        with pytest.raises(OSError, match="no port of"):
            free_port()
