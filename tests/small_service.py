"""A small HTTP service that starts fast and fails when told to; nothing but the standard library."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work-at-start", type=int, default=0, help="additions before listening")
    parser.add_argument("--mib", type=int, default=0, help="memory to fill")
    parser.add_argument("--mib-below", type=int, default=0, help="memory for a child to fill")
    parser.add_argument("--fail", type=int, help="exit with this code instead of serving")
    parser.add_argument("--quit-after", type=int, help="exit with code 7 after so many requests")
    parser.add_argument("--quit-first", type=Path, help="exit serving the first of this file")
    parser.add_argument("--hang-up-first", type=Path, help="answer not the first of this file")
    parser.add_argument("--stop-first", type=Path, help="stop for good at the first of this file")
    parser.add_argument("--count", type=Path, help="a file with a byte for each request")
    parser.add_argument("--answer", default="200 OK", help="to requests; 200 to health checks")
    parser.add_argument("--health", default="200 OK", help="to health checks, and all that is got")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--alone", action="store_true", help="409 to requests that overlap")
    parser.add_argument("--child", action="store_true", help="have a child process, too")
    return parser.parse_args()


class Service:
    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.posts = 0
        self.now = 0
        self.memory = b"x" * (given.mib * 1024 * 1024)

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                get = head.startswith("get")
                status = self.given.health if get else await self.post(head, reader)
                await asyncio.sleep(self.given.wait)
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}".encode())
                await writer.drain()
                if self.posts == self.given.quit_after:
                    os._exit(7)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def post(self, head: str, reader: asyncio.StreamReader) -> str:
        length = next(int(x[15:]) for x in head.split("\r\n") if x.startswith("content-length:"))
        await reader.readexactly(length)
        self.posts += 1
        self.now += 1
        if self.given.quit_first and count_in(self.given.quit_first) == 1:
            os._exit(7)
        if self.given.stop_first and count_in(self.given.stop_first) == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.given.hang_up_first and count_in(self.given.hang_up_first) == 1:
            raise ConnectionError("hung up")
        if self.given.count:
            count_in(self.given.count)
        await asyncio.sleep(0.01)  # serving takes time, in which another request may come
        overlap = self.now > 1
        self.now -= 1
        return "409 Conflict" if overlap and self.given.alone else str(self.given.answer)


def count_in(file: Path) -> int:
    """Count a request of any instance; how many there were."""
    with file.open("a") as opened:
        opened.write(".")
        return opened.tell()


def fill_below(mib: int) -> None:
    """Have a child in a session of its own that fills so much memory, and wait for it."""
    if mib:
        program = f"b'x' * ({mib} * 1024 * 1024)"
        subprocess.run([sys.executable, "-c", program], start_new_session=True, check=True)


async def main() -> None:
    given = arguments()
    if given.fail is not None:
        sys.stderr.write("not today\n")
        raise SystemExit(given.fail)
    if given.child and os.fork() == 0:
        signal.pause()
    fill_below(given.mib_below)
    for _ in range(given.work_at_start):
        pass
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(
        Service(given).connection, "127.0.0.1", int(os.environ["PORT"])
    )
    async with server:
        await stop.wait()


asyncio.run(main())
