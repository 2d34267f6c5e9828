from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest
from harness import CHECKOUT, Eventually, Running


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build folder of its own, with the jars that are there already."""
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "kafka").symlink_to(CHECKOUT / "build" / "kafka")
    return folder


def demo(build: Path, *args: str) -> Running:
    return Running(("demo", *args), {"FOREMESH_BUILD": str(build)}, build / "demo.log")


def below(running: Running) -> list[psutil.Process]:
    return psutil.Process(running.pid).children(recursive=True)


def running_still(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def sinks(build: Path) -> list[Path]:
    """The logs of sinks: there once the stack serves."""
    return list((build / "demo" / "logs").glob("sink-*/log"))


def test_a_short_demo_has_one_outcome_for_each_request_and_leaves_nothing_running(
    build: Path, eventually: Eventually
) -> None:
    running = demo(build, "--users", "60", "--seconds", "25", "--rate", "1.5", "--seed", "3")
    eventually(lambda: sinks(build), 120.0)
    seen = below(running)

    said = running.finish(280)

    pools = json.loads((build / "demo" / "report.json").read_text())["pools"]
    sent = pools["control"]["requests"]
    assert sent == pools["foremesh"]["requests"] > 0
    assert pools["foremesh"]["refused"] + pools["control"]["refused"] < sent
    assert "Latency" in said
    assert (build / "demo" / "report.png").stat().st_size > 10_000
    assert len(seen) >= 4
    assert running_still(seen) == []


def test_an_interrupted_demo_stops_all_it_started(build: Path, eventually: Eventually) -> None:
    running = demo(build, "--users", "40", "--seconds", "30", "--rate", "1")

    eventually(lambda: sinks(build), 120.0)
    started = below(running)
    running.process.send_signal(signal.SIGINT)

    assert running.wait(60) == 130
    assert "everything that was started is stopped" in running.output
    assert running_still(started) == []
