"""Ends the process groups it was told of when its parent dies, however that dies.

PR_SET_PDEATHSIG reaches a child, not its children. This process reads lines `+group` and
`-group` from its standard input; the end of input means that the parent is gone. Its arguments are
folders of cgroups that it dismantles then. It is run by its path and imports nothing but the
standard library, so that it is there within 20 ms.
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

OWN = "own"  # below a provisioner's folder: the group of itself, where it had to leave that above
_CLEAR_S = 2.0
_PAUSE_S = 0.005


class ProcessWatchdog:
    """The parent's end of the pipe.

    What leaves its process group is out of reach, unless it is in a cgroup.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, folders: Iterable[Path] = ()) -> Self:
        """Start the process that watches this one, and clears its folders of cgroups."""
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


def cleared(folder: Path) -> bool:
    """Kill what is in a cgroup and those below it, and remove them; whether they are gone.

    It may have to be called again: the kernel needs a moment to end what it was told to kill.
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
            if pid:  # of another namespace: 0 would be this process's own group
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def dismantle(folder: Path) -> None:
    """End what is in a provisioner's folder of cgroups, and remove it; this process may be in it."""
    deadline = time.monotonic() + _CLEAR_S
    own = folder / OWN
    left = [one for one in folder.glob("*/") if one != own]
    while (left := [one for one in left if not cleared(one)]) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    if own.exists():
        for divided in (folder, folder.parent):  # only then processes may be there again
            with contextlib.suppress(OSError):
                _unite(divided)
        with contextlib.suppress(OSError):
            (folder.parent / "cgroup.procs").write_text("0")
        with contextlib.suppress(OSError):
            own.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()


def _unite(folder: Path) -> None:
    """Have no controller count what is below a group apart."""
    counted = (folder / "cgroup.subtree_control").read_text().split()
    (folder / "cgroup.subtree_control").write_text(" ".join(f"-{one}" for one in counted))


def main() -> None:
    """Wait for the parent's end, then end its groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in follow(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for folder in sys.argv[1:]:
        dismantle(Path(folder))


if __name__ == "__main__":
    main()
