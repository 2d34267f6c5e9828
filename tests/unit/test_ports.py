from __future__ import annotations

import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from streams.runtime import ports
from streams.runtime.ports import free_port, free_ports, kept_port

OUTGOING_FROM = 32_768  # Linux; macOS and Windows begin higher


def test_ports_chosen_one_after_another_differ() -> None:
    assert len({free_port() for _ in range(200)}) == 200
    assert len(set(free_ports(20))) == 20


@pytest.mark.skipif(sys.platform != "linux", reason="processes tell each other on Linux only")
def test_a_port_that_another_process_chose_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen_elsewhere = (
        "from streams.runtime.ports import free_port; print(free_port(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", chosen_elsewhere],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        monkeypatch.setattr(ports, "_PORTS", range(port, port + 1))
        monkeypatch.setattr(ports, "_recent", deque())  # where an earlier test may have put it
        with pytest.raises(OSError, match="no port of"):
            free_port()
        other.communicate("\n")

    assert free_port() == port


def test_no_port_is_one_that_an_outgoing_connection_may_be_given() -> None:
    assert max(free_ports(200)) < OUTGOING_FROM


def test_a_port_on_which_somebody_listens_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_PORTS", range(port, port + 1))

        with pytest.raises(OSError, match="no port of"):
            free_port()


@pytest.mark.parametrize("note", ["127.0.0.1:{}", "{}"])
def test_a_server_has_the_port_of_its_last_life_unless_somebody_listens_there(
    tmp_path: Path, note: str
) -> None:
    noted = tmp_path / "address"
    assert kept_port(noted) is None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        noted.write_text(note.format(port))
        assert kept_port(noted) is None
    assert kept_port(noted) == port


def test_connections_that_were_closed_do_not_keep_a_server_from_its_port(tmp_path: Path) -> None:
    noted = tmp_path / "port"
    with socket.create_server(("127.0.0.1", 0)) as server:
        noted.write_text(str(server.getsockname()[1]))
        with socket.create_connection(server.getsockname()):
            server.accept()[0].close()  # the server closes first, so its end lingers
    assert kept_port(noted) == int(noted.read_text())
