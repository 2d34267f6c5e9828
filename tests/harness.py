"""What tests share: waiting with a deadline, and the command line as a child process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parents[1]
DEADLINE_S = 60.0  # only a test that fails waits so long; several processes may start at once


class Eventually(Protocol):
    """Ask until the answer is true; the answer, or AssertionError when time is up."""

    def __call__(self, check: Callable[[], T], timeout_s: float = DEADLINE_S) -> T: ...


class RunForemesh(Protocol):
    """Start the command line with the settings of the test, and further variables."""

    def __call__(self, *args: str, **env: str) -> Running: ...


class Running:
    """A command of foremesh that runs; `pid` and `returncode` are those of the process."""

    def __init__(self, args: tuple[str, ...], env: Mapping[str, str], output: Path) -> None:
        self.args = args
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams", *args],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **env},
                cwd=CHECKOUT,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """All that it has printed, standard output and error together."""
        return self._output.read_text(errors="replace")

    def wait(self, timeout_s: float = 60.0) -> int:
        """Its exit code, once it has ended."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.args} still runs:\n{self.output}") from None

    def finish(self, timeout_s: float = 60.0) -> str:
        """What it printed, once it has ended well."""
        assert self.wait(timeout_s) == 0, f"{self.args} failed:\n{self.output}"
        return self.output

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, then SIGKILL when it does not end; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait(10)


def eventually(check: Callable[[], T], timeout_s: float = DEADLINE_S, pause_s: float = 0.05) -> T:
    """Ask until the answer is true; an AssertionError of the check counts as no."""
    deadline = time.monotonic() + timeout_s
    said: object = None
    while True:
        try:
            answer = check()
        except AssertionError as error:
            said = error
        else:
            if answer:
                return answer
            said = answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {timeout_s:.0f} s; the last answer: {said}")
        time.sleep(pause_s)


def code_of(url: str) -> int:
    """The status of the answer to a GET; 0 while nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
