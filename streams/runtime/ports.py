"""Ports for servers that we start on this machine."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections import deque
from pathlib import Path

__all__ = ["free_port", "free_ports", "kept_port"]

# Below the range from which Linux and macOS take the local ports of outgoing connections:
# a port of that range may be taken between our choice and the server's start.
_PORTS = range(10_000, 32_768)
_TRIES = 10_000
_recent: deque[int] = deque(maxlen=1_024)  # chosen, and perhaps not yet listened on
_reserved: deque[int] = deque()  # file descriptors that tell other processes so of the last ones
_RESERVED = 64


def free_port() -> int:
    """Choose a port of the loopback interface that is free and was not chosen recently.

    Nor was it by another process that still runs, on Linux.

    Raises
    ------
    OSError
        None is free.
    """
    for _ in range(_TRIES):
        port = random.choice(_PORTS)  # noqa: S311 - not a secret
        if port not in _recent and _is_free(port) and _reserve(port):
            _recent.append(port)
            return port
    raise OSError(f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free")


def free_ports(count: int) -> list[int]:
    """Choose several different ports; see `free_port`."""
    return [free_port() for _ in range(count)]


def kept_port(noted: Path) -> int | None:
    """The port of a server's last life, unless there was none or somebody else listens there now.

    Parameters
    ----------
    noted
        The file in which its address or its port alone was written then.
    """
    port = noted.read_text().rpartition(":")[2] if noted.exists() else ""
    return int(port) if port.isdecimal() and _is_free(int(port), again=True) else None


def _reserve(port: int) -> bool:
    """Keep other processes from the port until we end or have chosen many more, unless one has it.

    Linux has names for sockets that are no files: nothing is left of them.
    """
    if sys.platform != "linux":
        return True
    with socket.socket(socket.AF_UNIX) as named:
        try:
            named.bind(f"\0foremesh-port-{port}")
        except OSError:
            return False
        _reserved.append(named.detach())
    if len(_reserved) > _RESERVED:
        os.close(_reserved.popleft())
    return True


def _is_free(port: int, *, again: bool = False) -> bool:
    """Whether a server can listen there; `again`: while old connections to it are forgotten."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, again)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
