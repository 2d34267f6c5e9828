"""A small HTTP service that takes its time to start, for demonstrations.

It stands for a service that loads its model from a disk or a network: it waits, without work for
this machine. It listens at once, but answers only when it has loaded; each POST takes time as well.
Run by its path it imports little, so that hundreds start in a minute, and nothing of foremesh, like
a service written by somebody else.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import socket
import sys
import time

__all__ = ["main", "serve"]

_BACKLOG = 64
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def serve(connection: socket.socket, work_s: float) -> None:
    """Answer the requests of one connection until it ends."""
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
        while request := lines.readline():
            length = 0
            while (line := lines.readline().strip().lower()) != b"":
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            lines.read(length)
            if request.startswith(b"POST"):
                time.sleep(work_s)
            connection.sendall(_HEAD)


def main(load_ms: str, work_ms: str) -> None:
    """Load, then serve until killed."""
    loaded_s = time.monotonic() + int(load_ms) / 1000
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=_BACKLOG) as server:
        time.sleep(max(0.0, loaded_s - time.monotonic()))
        while True:
            connection, _ = server.accept()
            _thread.start_new_thread(serve, (connection, int(work_ms) / 1000))


if __name__ == "__main__":
    main(*sys.argv[1:])
