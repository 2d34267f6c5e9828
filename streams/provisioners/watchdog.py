"""Ends the process groups it was told of when its parent dies, however that dies.

PR_SET_PDEATHSIG reaches a child, not its children. This process reads lines `+group` and
`-group` from its standard input; the end of input means that the parent is gone. It is run by
its path and imports nothing but the standard library, so that it is there within 20 ms.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import Self

__all__ = ["Watchdog"]


class Watchdog:
    """The parent's end of the pipe.

    A group that leaves its session by `setsid` is out of reach.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls) -> Self:
        """Start the process that watches this one."""
        return cls(
            subprocess.Popen(  # noqa: S603 - our own file, no shell
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,
            )
        )

    def watch(self, group: int) -> None:
        """End this group when the parent dies."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Leave a group that has ended alone."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the watch, and what is still watched with it."""
        pipe = self._process.stdin
        if pipe is not None:
            pipe.close()
        self._process.wait(timeout=5)

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(line.encode())


def follow(lines: Iterable[str]) -> set[int]:
    """The groups that are left when the lines end."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        (groups.add if line.startswith("+") else groups.discard)(group)
    return groups


def main() -> None:
    """Wait for the parent's end, then end its groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in follow(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
