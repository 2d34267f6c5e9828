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


def test_a_short_demo_has_one_outcome_for_each_request_and_leaves_nothing_running(
    build: Path, eventually: Eventually
) -> None:
    running = demo(build, "--users", "60", "--seconds", "12", "--rate", "1.5", "--seed", "3")
    seen = eventually(lambda: len(below(running)) >= 4 and below(running), 60.0)

    said = running.finish(280)

    pools = json.loads((build / "demo" / "report.json").read_text())["pools"]
    sent = pools["control"]["requests"]
    assert sent == pools["foremesh"]["requests"] > 10
    assert pools["foremesh"]["refused"] + pools["control"]["refused"] < sent
    assert "Latency" in said
    assert (build / "demo" / "report.png").stat().st_size > 10_000
    assert [p for p in seen if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def test_an_interrupted_demo_stops_all_it_started(build: Path, eventually: Eventually) -> None:
    running = demo(build, "--users", "40", "--seconds", "30", "--rate", "1")

    def working() -> list[psutil.Process]:
        found = below(running)
        return found if any("sink" in p.cmdline() for p in found) else []

    started = eventually(working, 120.0)
    running.process.send_signal(signal.SIGINT)

    assert running.wait(60) == 130
    assert "everything that was started is stopped" in running.output
    assert [p for p in started if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
