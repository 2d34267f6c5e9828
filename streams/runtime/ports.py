"""Ports for servers that we start on this machine."""

from __future__ import annotations

import random
import socket
from collections import deque

__all__ = ["free_port", "free_ports"]

# Below the range from which Linux and macOS take the local ports of outgoing connections:
# a port of that range may be taken between our choice and the server's start.
_PORTS = range(10_000, 32_768)
_TRIES = 10_000
_recent: deque[int] = deque(maxlen=1_024)  # chosen, and perhaps not yet listened on


def free_port() -> int:
    """Choose a port of the loopback interface that is free and was not chosen recently.

    Raises
    ------
    OSError
        None is free.
    """
    for _ in range(_TRIES):
        port = random.choice(_PORTS)  # noqa: S311 - not a secret
        if port not in _recent and _is_free(port):
            _recent.append(port)
            return port
    raise OSError(f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free")


def free_ports(count: int) -> list[int]:
    """Choose several different ports; see `free_port`."""
    return [free_port() for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
