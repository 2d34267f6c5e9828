from __future__ import annotations

import socket
import threading
import time

import pytest

from streams.demo.constituent import serve

POST = b"POST /draw HTTP/1.1\r\nhost: here\r\nContent-Length: 2\r\n\r\n{}"
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n"


@pytest.mark.parametrize(("request_", "least_s"), [(POST, 0.05), (HEALTH, 0.0)])
def test_requests_of_one_connection_are_answered_in_turn_and_posts_take_time(
    request_: bytes, least_s: float
) -> None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=serve, args=(theirs, 0.05))
    thread.start()
    began_s = time.monotonic()
    with ours:
        for _ in range(2):
            ours.sendall(request_)
            answer = ours.recv(1_000)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\n{}")
    assert time.monotonic() - began_s >= 2 * least_s
    thread.join(5)
    assert not thread.is_alive()
