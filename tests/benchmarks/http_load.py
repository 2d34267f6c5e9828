"""Open-loop load over HTTP/1.1 from one thread; prints the milliseconds of each answer as JSON.

`http_load.py PORT RATE SECONDS PATH...`: the paths in turn, on 16 connections at most.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import cast

import uvloop

CONNECTIONS = 16


class Connection(asyncio.Protocol):
    def __init__(self, free: list[Connection], taken: list[float], said: Counter[str]) -> None:
        self.free, self.taken, self.said = free, taken, said
        self.began = 0.0
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.free.append(self)

    def ask(self, request: bytes) -> None:
        self.began = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next(int(x[15:]) for x in lines if x.startswith(b"content-length:"))
        if len(body) < length:
            return
        self.taken.append((time.perf_counter() - self.began) * 1e3)
        result = next((x[12:].decode() for x in lines if x.startswith(b"x-foremesh: ")), "")
        self.said[f"{lines[0].split()[1].decode()} {result}".strip()] += 1
        self.data = b""
        self.free.append(self)


async def main(port: int, rate: float, seconds: float, paths: list[str]) -> None:
    free: list[Connection] = []
    taken: list[float] = []
    said: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    requests = [
        f"GET {path} HTTP/1.1\r\nhost: mesh\r\nx-foremesh-user: u1\r\n\r\n".encode()
        for path in paths
    ]
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Connection(free, taken, said), "127.0.0.1", port)
    began = loop.time()
    missed = 0
    for number in range(round(rate * seconds)):
        await asyncio.sleep(began + number / rate - loop.time())
        if free:
            free.pop().ask(requests[number % len(requests)])
        else:
            missed += 1
    await asyncio.sleep(0.5)
    print(json.dumps({"ms": taken, "said": said, "missed": missed}))  # noqa: T201 - its purpose


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
