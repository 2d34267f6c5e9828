"""Kills the process groups of a provisioner when that dies, however it dies.

PR_SET_PDEATHSIG reaches a child, but not the child's own children. This script reads lines `+group`
and `-group` from its standard input; end of input means that the parent is gone. Its arguments are
cgroup folders, which it then removes. It is run by its path and imports the standard library only,
so that it is up within 20 ms.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

__all__ = ["OWN", "ProcessWatchdog", "cleared", "dismantle"]

OWN = "own"  # group of the provisioner itself: version 2 allows no processes in inner groups
_CLEAR_S = 2.0
_PAUSE_S = 0.005


class ProcessWatchdog:
    """The parent's end of the pipe to the script.

    A process that leaves its process group escapes, unless it is in a cgroup.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, folders: Iterable[Path] = ()) -> Self:
        """Start the script that watches this process, and that removes these cgroup folders."""
        return cls(
            subprocess.Popen(  # noqa: S603 - our own file, no shell
                [sys.executable, "-I", "-S", __file__, *map(str, folders)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,
            )
        )

    def watch(self, group: int) -> None:
        """Kill this process group when the parent dies."""
        self._send(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Forget a process group that has ended."""
        self._send(f"-{group}\n")

    def close(self) -> None:
        """End the script, which kills the groups that are still watched."""
        pipe = self._process.stdin
        if pipe is not None:
            pipe.close()
        self._process.wait(timeout=5)

    def _send(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(line.encode())


def groups_left(lines: Iterable[str]) -> set[int]:
    """Return the groups still watched at the end of input."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        (groups.add if line.startswith("+") else groups.discard)(group)
    return groups


def cleared(folder: Path) -> bool:
    """Kill all processes in a cgroup and below, then remove it; whether it is gone.

    Call it again if not: the kernel needs a moment to end killed processes.
    """
    below = sorted(folder.glob("**/"), reverse=True)
    with contextlib.suppress(OSError):
        _kill(folder, below)
    with contextlib.suppress(OSError):
        for one in below:
            one.rmdir()
    return not folder.exists()


def _kill(folder: Path, below: Iterable[Path]) -> None:
    if (folder / "cgroup.kill").exists():  # not in version 1, and not before Linux 5.14
        (folder / "cgroup.kill").write_text("1")
        return
    for one in below:
        for pid in map(int, (one / "cgroup.procs").read_text().split()):
            if pid:  # 0 stands for a process of another namespace, and would signal our own group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def dismantle(folder: Path) -> None:
    """Kill all processes in a provisioner's cgroup folder and remove it; the caller may be in it."""
    deadline = time.monotonic() + _CLEAR_S
    own = folder / OWN
    left = [one for one in folder.glob("*/") if one != own]
    while (left := [one for one in left if not cleared(one)]) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    if own.exists():
        for inner in (folder, folder.parent):  # processes may join only without controllers
            with contextlib.suppress(OSError):
                _disable_controllers(inner)
        with contextlib.suppress(OSError):
            (folder.parent / "cgroup.procs").write_text("0")
        with contextlib.suppress(OSError):
            own.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _disable_controllers(folder: Path) -> None:
    """Disable all controllers for the groups below a folder."""
    enabled = (folder / "cgroup.subtree_control").read_text().split()
    (folder / "cgroup.subtree_control").write_text(" ".join(f"-{one}" for one in enabled))


def main() -> None:
    """Wait for the parent's end, then kill its groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in groups_left(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for folder in sys.argv[1:]:
        dismantle(Path(folder))


if __name__ == "__main__":
    main()
