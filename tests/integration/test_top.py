"""`foremesh top` in a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from harness import CHECKOUT, Eventually, RunForemesh
from test_report_from_database import COMMAND, INSTANCE, OUTCOME, store

from streams.records import Instance, InstanceState
from streams.settings import Settings


class Screen:
    """A command in a terminal of its own; what it shows is read all the time."""

    def __init__(self, words: list[str], settings: Settings) -> None:
        self._keyboard, terminal = pty.openpty()
        env = {**os.environ, **settings.to_env(), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streams", *words],
            stdin=terminal, stdout=terminal, stderr=terminal, env=env, cwd=CHECKOUT,
        )  # fmt: skip
        os.close(terminal)
        os.set_blocking(self._keyboard, False)
        self._shown = b""

    def type(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    @property
    def shown(self) -> str:
        try:
            while more := os.read(self._keyboard, 65_536):
                self._shown += more
        except OSError:  # nothing more now, or it has ended
            pass
        return self._shown.decode(errors="replace")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self._keyboard)


def _warm() -> Instance:
    return replace(INSTANCE, instance_id="i2", state=InstanceState.WARM, gone_ms=None)


@pytest.fixture
def screen(settings: Settings) -> Iterator[Screen]:
    store(settings, [OUTCOME, INSTANCE, COMMAND])
    shown = Screen(["top", "--every", "0.3"], settings)
    yield shown
    shown.close()


def test_a_terminal_shows_a_pool_until_a_q_is_typed(screen: Screen, eventually: Eventually) -> None:
    eventually(lambda: "q ends this" in screen.shown)
    assert "100.0" in screen.shown  # the hit rate
    screen.type("q")
    eventually(lambda: screen.shown and screen.process.poll() is not None)
    assert screen.process.returncode == 0


def test_a_terminal_shows_what_is_new(
    settings: Settings, screen: Screen, eventually: Eventually
) -> None:
    eventually(lambda: "No instance is there" in screen.shown)
    store(settings, [_warm()])
    eventually(lambda: "1 instance in all" in screen.shown)


def test_ctrl_c_ends_it_well(screen: Screen, eventually: Eventually) -> None:
    eventually(lambda: "q ends this" in screen.shown)
    screen.process.send_signal(signal.SIGINT)
    eventually(lambda: screen.shown and screen.process.poll() is not None)
    assert screen.process.returncode == 0


def test_in_a_pipe_it_looks_once(settings: Settings, run_foremesh: RunForemesh) -> None:
    store(settings, [OUTCOME, _warm(), COMMAND])
    assert "pricing" in run_foremesh("top").finish()
    seen = json.loads(run_foremesh("top", "--output", "json").finish())
    assert (seen["requests"], seen["hits"]) == (1, 1)
    assert [(one["service"], one["warm"]) for one in seen["constituents"]] == [("pricing", 1)]
    assert [one["reason"] for one in seen["decisions"]] == [COMMAND.reason]


def test_of_a_pool_of_which_nothing_is_known_it_says_so(run_foremesh: RunForemesh) -> None:
    assert "Nothing has happened in pool empty" in run_foremesh("top", "--pool", "empty").finish()
