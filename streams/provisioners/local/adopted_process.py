"""Processes that another process forked and that this one adopts: how, and their handles."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator

__all__ = ["SUBREAPER", "AdoptedProcess", "ChildSubreaper"]

_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


class ChildSubreaper:
    """Makes orphaned descendants children of this process, while any fork is in progress.

    The kernel has one flag for the whole process, so all forks share `SUBREAPER`. Outside of forks
    the flag is off: orphans of instances go to the system's init process, which reaps them.
    """

    def __init__(self) -> None:
        self._forks = 0  # in progress

    @contextlib.contextmanager
    def adopting(self) -> Iterator[None]:
        """Adopt processes that are orphaned in this block; blocks may overlap."""
        self._forks += 1
        self._set_flag()
        try:
            yield
        finally:
            self._forks -= 1
            self._set_flag()

    def _set_flag(self) -> None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, int(self._forks > 0), 0, 0, 0)


SUBREAPER = ChildSubreaper()


class AdoptedProcess:
    """An adopted child process, reaped through a pidfd; implements `ProcessHandle`.

    Parameters
    ----------
    pid
        Its process id.

    Raises
    ------
    OSError
        There is no such process, or it is not a child of this one.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = _child_pidfd(pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    async def wait(self) -> int:
        """Wait for its end; returns its exit code, or the negative number of the signal."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        try:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # reaped with the group of its base, with which it was killed
            self.returncode = -signal.SIGKILL
        self._ended.set()


def _child_pidfd(pid: int) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        os.close(pidfd)
        raise
    return pidfd
