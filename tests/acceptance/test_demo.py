from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from harness import CHECKOUT, Eventually, Running

from streams.demo.processes import DemoProcesses
from streams.errors import StackFailed
from streams.settings import Settings


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build folder of its own, with the jars that are there already."""
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "kafka").symlink_to(CHECKOUT / "build" / "kafka")
    return folder


@contextmanager
def demo(build: Path, *args: str) -> Iterator[Running]:
    """A demo, which ends with all that it started when its test fails."""
    running = Running(("demo", *args), {"FOREMESH_BUILD": str(build)}, build / "demo.log")
    try:
        yield running
    finally:
        if running.process.poll() is None:
            started = below(running)
            running.stop(60)
            for process in running_still(started):
                process.kill()


def below(running: Running) -> list[psutil.Process]:
    return psutil.Process(running.pid).children(recursive=True)


def running_still(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def started(build: Path, name: str) -> list[Path]:
    """The logs of processes: of sinks there once the stack serves, of an Envoy once it plays."""
    return list((build / "demo" / "logs").glob(f"{name}-*/log"))


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_short_demo_answers_all_shows_the_gain_and_leaves_nothing_running(
    build: Path, eventually: Eventually
) -> None:
    sizes = ("--users", "120", "--styles", "60", "--past", "400", "--seconds", "25")
    with demo(build, *sizes) as running:
        eventually(lambda: started(build, "envoy"), 240.0)
        seen = below(running)

        said = running.finish(500)

    arms = json.loads((build / "demo" / "report.json").read_text())["arms"]
    without, timer, foremesh = arms.values()
    assert without["requests"] == timer["requests"] == foremesh["requests"] > 50
    assert all(arm["served"] == arm["requests"] for arm in arms.values())
    assert foremesh["hits"] == foremesh["started_before"] > 2 * without["hits"]
    assert foremesh["total"] < 0.9 * without["total"]  # the best timer has .81 of it
    assert foremesh["total"] < 1.2 * timer["total"]  # a busy machine starts late
    assert 0.75 < foremesh["spent"] / timer["spent"] < 1.25
    assert "foremesh let its users wait" in said
    assert (build / "demo" / "report.png").stat().st_size > 10_000
    assert len(seen) >= 10
    assert running_still(seen) == []


@pytest.mark.parametrize("process", ["sink", "envoy"])
def test_an_interrupted_demo_stops_all_it_started(
    build: Path, eventually: Eventually, process: str
) -> None:
    with demo(build, "--users", "40", "--past", "100", "--seconds", "30") as running:
        eventually(lambda: started(build, process), 120.0)
        seen = below(running)
        running.process.send_signal(signal.SIGINT)

        assert running.wait(60) == 130
    assert "everything that was started is stopped" in running.output
    assert running_still(seen) == []


def test_a_demo_does_not_outlive_its_test(build: Path, eventually: Eventually) -> None:
    with demo(build) as running:
        seen = eventually(lambda: below(running), 60.0)

    assert running.process.poll() is not None
    assert running_still(seen) == []


def test_an_interrupt_in_generated_code_leaves_the_exit_code_to_the_demo(tmp_path: Path) -> None:
    program = tmp_path / "interrupted.py"
    program.write_text("""
import sys
from pathlib import Path
from streams.demo.processes import DemoProcesses

try:
    exec("interrupt()", {"interrupt": DemoProcesses(Path("logs")).interrupt})
except KeyboardInterrupt:
    sys.exit(130)
""")
    path = os.pathsep.join([str(tmp_path), str(CHECKOUT)])

    ended = subprocess.run(
        [sys.executable, "-m", "interrupted"], env={**os.environ, "PYTHONPATH": path}, check=False
    )

    assert ended.returncode == 130


def test_a_command_of_the_demo_that_fails_is_reported_with_its_output(tmp_path: Path) -> None:
    processes = DemoProcesses(tmp_path)

    with pytest.raises(StackFailed, match=r"(?s)`foremesh catalog load.*cannot be read"):
        processes.finish(Settings(), "catalog", "load", str(tmp_path / "missing.yaml"))
