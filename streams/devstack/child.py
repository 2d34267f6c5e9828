"""Start, find and stop child processes: later commands find them by their pid file."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from streams.devstack import spawn
from streams.errors import StackFailed

__all__ = ["ServerProcess", "run", "until"]

logger = logging.getLogger(__name__)

REAPED_S = 5.0  # a process that has ended may have threads that have not


class ServerProcess:
    """A server in a session of its own.

    Parameters
    ----------
    name
        Name of the server in messages.
    folder
        Directory of its `pid` and `log` files.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._pid_file = folder / "pid"
        self.log = folder / "log"
        self._popen: subprocess.Popen[bytes] | None = None

    def start(
        self, argv: list[str], *, env: Mapping[str, str], death_signal: int = 0, user: str = "-"
    ) -> None:
        """Start `argv`, unless it is running.

        Parameters
        ----------
        death_signal
            Signal that it gets when the calling thread ends; 0 for none.
        user
            User that it runs as when we are root; "-" for root itself.
        """
        if self.process() is not None:
            return
        if self._popen is not None:
            self._popen.wait(REAPED_S)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603  # our own servers, no shell
                _spawned(argv, death_signal, user),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.log.parent,
                env=dict(env),
            )
        started = psutil.Process(self._popen.pid).create_time()
        self._pid_file.write_text(f"{self._popen.pid} {started}\n")

    @property
    def pid(self) -> int | None:
        """Its process id while it runs, else None."""
        process = self.process()
        return process.pid if process else None

    def process(self) -> psutil.Process | None:
        """The running process, even if an earlier command started it; None when none runs."""
        if self._popen is not None:
            self._popen.poll()  # reaps it if it has ended
        try:
            pid, started = self._pid_file.read_text().split()
            process = psutil.Process(int(pid))
            mine = process.create_time() == float(started)
            running = mine and process.status() != psutil.STATUS_ZOMBIE
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        return process if running else None

    def stop(self, how: signal.Signals, timeout_s: float) -> bool:
        """Send it a signal, then SIGKILL after a time; returns once it and its children are gone.

        Returns
        -------
        bool
            Whether it was running.
        """
        process = self.process()
        if process is not None:
            family = [process, *_children(process)]
            _send(process, how)
            _, left = psutil.wait_procs(family, timeout_s)
            for survivor in left:
                logger.warning(
                    "%s: process %d did not end in %g s", self.name, survivor.pid, timeout_s
                )
                _send(survivor, signal.SIGKILL)
            psutil.wait_procs(left, REAPED_S)
        if self._popen is not None:
            self._popen.wait(REAPED_S)
        self._pid_file.unlink(missing_ok=True)
        return process is not None

    def alive_or_raise(self) -> None:
        """Raise `StackFailed`, with the end of its log, if it has ended."""
        if self.process() is None:
            raise StackFailed(
                f"{self.name} ended while it started; {self.log} ends with:\n{self.log_end()}"
            )

    def log_end(self, lines: int = 20) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def run(
    argv: list[str], what: str, timeout_s: float, *, env: Mapping[str, str], user: str = "-"
) -> None:
    """Run a command to its end; raises `StackFailed` when it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603  # our own commands, no shell
            _spawned(argv, signal.SIGKILL, user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=dict(env),
        )
    except subprocess.TimeoutExpired as error:
        raise StackFailed(f"{what} took more than {timeout_s:.0f} s: {argv}") from error
    if done.returncode:
        raise StackFailed(f"{what} failed with exit code {done.returncode}:\n{done.stdout}")


def until(ready: Callable[[], bool], child: ServerProcess, timeout_s: float) -> None:
    """Wait until `ready`; raises `StackFailed` when the child ends first or time runs out."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        child.alive_or_raise()
        if time.monotonic() > deadline:
            raise StackFailed(
                f"{child.name} was not ready after {timeout_s:.0f} s; its log ends with:\n"
                f"{child.log_end()}"
            )
        time.sleep(0.05)


def _spawned(argv: list[str], death_signal: int, user: str) -> list[str]:
    us = str(os.getpid())
    return [sys.executable, spawn.__file__, us, str(int(death_signal)), user, *argv]


def _children(process: psutil.Process) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        yield from process.children(recursive=True)


def _send(process: psutil.Process, how: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(how)
