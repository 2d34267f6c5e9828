"""The processes of the demonstration: real `foremesh` commands, each with its own log."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from streams.devstack.child import ServerProcess, run
from streams.errors import StackFailed
from streams.settings import Settings

__all__ = ["DemoInterrupted", "DemoProcesses", "until"]

_START_S = 60.0
_STOP_S = 30.0


class DemoInterrupted(KeyboardInterrupt):
    """The demonstration was told to stop.

    When a plain `KeyboardInterrupt` passes through `exec`, which makes the codec's functions,
    Python ends itself by SIGINT at exit, whatever exit code was given.
    """


class DemoProcesses:
    """Child processes that end with this one, and whose unexpected end is reported.

    Parameters
    ----------
    folder
        Directory of their logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, ServerProcess] = {}
        self._interrupted = False

    def interrupt(self, *_: object) -> None:
        """Handle a signal: raise `DemoInterrupted` now, and again in the next `check`.

        Raising once is not enough: Python drops exceptions raised during garbage collection.
        """
        self._interrupted = True
        raise DemoInterrupted

    def start(self, name: str, settings: Settings, *args: str, **env: str) -> None:
        """Start `foremesh ARGS` in the background, under a name."""
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        child = self._children[name] = ServerProcess(name, folder)
        child.start(
            _foremesh(args),
            env={**os.environ, **settings.to_env(), **env},
            death_signal=signal.SIGKILL,
        )

    def finish(self, settings: Settings, *args: str, timeout_s: float = _START_S) -> None:
        """Run `foremesh ARGS` to its end; raises `StackFailed` when it fails."""
        what = f"`foremesh {' '.join(args)}`"
        run(_foremesh(args), what, timeout_s, env={**os.environ, **settings.to_env()})

    def wait_for_answer(self, place: str) -> None:
        """Wait until a process answers HTTP health checks at host:port."""
        until(lambda: _answers(place), _START_S, f"nothing answers at {place}", self.check)

    def wait_for_port(self, place: str) -> None:
        """Wait until a process listens at host:port."""
        until(lambda: _listens(place), _START_S, f"nothing listens at {place}", self.check)

    def check(self) -> None:
        """Raise `StackFailed`, with the end of the log, if a process has ended by itself.

        Raises
        ------
        DemoInterrupted
            An interrupt arrived.
        """
        if self._interrupted:
            raise DemoInterrupted
        for name, child in self._children.items():
            if child.process() is None:
                raise StackFailed(
                    f"{name} ended by itself; {child.log} ends with:\n{child.log_end()}"
                )

    def stop(self, *names: str) -> None:
        """Stop these processes in turn; without names all of them, the last started first."""
        for name in names or reversed(list(self._children)):
            self._stop(name)

    def stop_together(self, *names: str) -> None:
        """Stop these processes at once: each takes up to seconds, most of them waiting."""
        with ThreadPoolExecutor(len(names)) as stopping:
            list(stopping.map(self._stop, names))

    def _stop(self, name: str) -> None:
        child = self._children.pop(name, None)
        if child is not None:
            child.stop(signal.SIGTERM, _STOP_S)


def until(
    done: Callable[[], bool], timeout_s: float, sorry: str, meanwhile: Callable[[], None]
) -> None:
    """Wait for a condition; raises `StackFailed` with the text `sorry` when time runs out."""
    deadline = time.monotonic() + timeout_s
    while not done():
        meanwhile()
        if time.monotonic() > deadline:
            raise StackFailed(f"{sorry} after {timeout_s:.0f} s")
        time.sleep(0.1)


def _foremesh(args: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "streams", *args]


def _answers(place: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{place}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _listens(place: str) -> bool:
    host, _, port = place.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
