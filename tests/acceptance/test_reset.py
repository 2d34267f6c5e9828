"""A pool begins anew: what comes of a log after a reset is what a new stack makes of it."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from harness import CHECKOUT, RunForemesh, eventually
from live import Live
from test_event_time import assert_same_rows
from test_same_as_replay import CATALOGUE, population

from streams.adapters.kafka.clients import connect
from streams.adapters.kafka.emptying import as_emptied
from streams.adapters.kafka.groups import members
from streams.adapters.kafka.lag import group_lags
from streams.adapters.kafka.topics import check_topics
from streams.devstack import LocalStack
from streams.flow.components import COMPONENTS
from streams.flow.topology import STAGES, TOPICS, changelog
from streams.pipeline.operator_word import in_force
from streams.records import Request
from streams.records.control import Mode
from streams.runtime.clock import wall_ms
from streams.settings import Settings

KEPT = {"catalog", "control"}
CLEARED = [*(name for name in TOPICS if name not in KEPT), *map(changelog, STAGES)]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, clock="event")


@pytest.fixture
def replayed(stack: LocalStack, template: str, settings: Settings) -> Iterator[str]:
    """The URL of another database with the schema."""
    name = f"replayed_{settings.prefix.strip('-')}"
    yield stack.postgres.create(name, template)
    stack.postgres.drop(name)


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, live: Live) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOGUE)
    live.catalogue(path)
    return path


def log(path: Path, requests: Sequence[Request]) -> Path:
    """A log of these requests, and of one for what nobody serves."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "service", "time", "tier"])
        rows.writerows([r.user, r.service, r.at_ms, r.tier] for r in requests)
        rows.writerow(["user2", "sculpture", requests[-1].at_ms, "gold"])
    return path


def of_late(count: int) -> list[Request]:
    """So many requests of the population as if of the last seconds."""
    now = wall_ms()
    return [replace(r, at_ms=now - 100 * n) for n, r in enumerate(reversed(population(count)))]


def waiting(settings: Settings, stage: str) -> int:
    """How many records a stage has yet to settle."""
    return sum(lag.records for lag in group_lags(settings) if lag.stage == stage)


def held(live: Live) -> int:
    """How many records there are in what a reset clears."""
    return sum(len(live.records(topic)) for topic in TOPICS if topic not in KEPT)


class Asked:
    """A reset at a terminal, which has asked whether to clear all this."""

    def __init__(self, settings: Settings) -> None:
        self._terminal, stdin = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streams", "reset", "default"],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **settings.to_env()},
            cwd=CHECKOUT,
        )
        os.close(stdin)
        self.said = ""
        while "Clear all this?" not in self.said:
            more = self._read()
            assert more, self.said
            self.said += more

    def answer(self, answer: str) -> None:
        """Type the answer, and wait for the end."""
        os.write(self._terminal, f"{answer}\n".encode())
        while more := self._read():
            self.said += more
        self.process.wait(60)

    def close(self) -> None:
        """End it if it has not ended."""
        self.process.kill()
        self.process.communicate()
        os.close(self._terminal)

    def _read(self) -> str:
        assert self.process.stderr
        return os.read(self.process.stderr.fileno(), 4096).decode()


@pytest.mark.timeout(300)
def test_after_a_reset_a_log_leads_to_the_rows_of_a_new_stack(
    live: Live, run_foremesh: RunForemesh, replayed: str, catalogue: Path, tmp_path: Path
) -> None:
    asked = population(270)
    wrong, right = log(tmp_path / "wrong.csv", asked[:120]), log(tmp_path / "log.csv", asked[60:])
    worker, sink = live.worker(), live.sink()
    live.run("produce", str(wrong), "--wait")
    refused = run_foremesh("reset", "default", "--yes")
    assert refused.wait() == 1
    assert "Still running: sink on 127.0.0.1; event-time on 127.0.0.1." in refused.output
    assert live.rows("outcomes") == 120
    assert worker.stop() == 0
    assert sink.stop() == 0

    said = live.run("reset", "default", "--yes")

    assert "Cleared. Start the workers" in said
    assert held(live) == live.rows("outcomes") == live.rows("requests_by_minute") == 0
    assert check_topics(live.settings) == []
    live.worker()
    live.sink()
    live.run("produce", str(right), "--wait")
    run = ("--postgres", replayed, "replay", str(right), "--catalog", str(catalogue), "--postgres")
    run_foremesh(*run).finish(120)
    assert_same_rows(live.settings.postgres, replayed)
    assert live.rows("outcomes") == 210


@pytest.mark.timeout(300)
def test_so_it_does_with_workers_of_the_wall_clock_and_what_operators_said_stays(
    live: Live, tmp_path: Path
) -> None:
    live.run("control", "mode", "default", "shadow", "--reason", "a rehearsal")
    running = [live.worker(FOREMESH_CLOCK="wall"), live.sink()]
    live.run("produce", str(log(tmp_path / "log.csv", of_late(60))))
    eventually(lambda: live.rows("outcomes") == 60)
    for one in running:
        one.stop()
    live.run("reset", "default", "--yes")
    live.worker(FOREMESH_CLOCK="wall")
    live.sink()
    eventually(lambda: not waiting(live.settings, "allocator"))  # it has heard what was said
    live.run("produce", str(log(tmp_path / "other.csv", of_late(7))))

    eventually(lambda: live.rows("outcomes") == 7)
    eventually(lambda: live.rows("verdicts") > 0)
    assert live.query("SELECT DISTINCT mode::text FROM verdicts") == [("shadow",)]
    assert live.query("SELECT mode::text, reason FROM controls") == [("shadow", "a rehearsal")]
    assert in_force(live.settings)["default"].mode is Mode.SHADOW


@pytest.mark.timeout(120)
def test_a_reset_that_was_killed_is_finished_by_another_and_nothing_starts_before(
    live: Live, run_foremesh: RunForemesh, tmp_path: Path
) -> None:
    live.run("produce", str(log(tmp_path / "log.csv", population(20))))
    with psycopg.connect(live.settings.postgres) as other:
        other.execute("LOCK TABLE outcomes IN ACCESS SHARE MODE")
        killed = run_foremesh("reset", "default", "--yes")
        eventually(lambda: not live.records("requests"))
        killed.kill()
    early = run_foremesh("worker")
    assert early.wait() == 1
    assert "`foremesh reset` was interrupted, run it again" in early.output

    live.run("reset", "default", "--yes")

    assert held(live) == 0
    assert check_topics(live.settings) == []
    assert "There is nothing to clear of default." in live.run("reset", "default", "--dry-run")


@pytest.mark.timeout(120)
def test_a_reset_that_ended_with_its_tables_empty_is_finished_for_pools_they_alone_knew(
    live: Live, run_foremesh: RunForemesh
) -> None:
    words = ("reset", "default", "former", "--yes")
    refused = run_foremesh(*words)
    assert refused.wait() == 1
    assert "There is no pool former" in refused.output
    compacted = [live.settings.topic(name) for name in COMPONENTS["reset"].resets]
    as_emptied(connect(live.settings), compacted[-1:])

    live.run(*words)

    assert check_topics(live.settings) == []


def test_a_dry_run_tells_programs_what_it_would_clear_and_clears_nothing(
    live: Live, tmp_path: Path
) -> None:
    live.run("produce", str(log(tmp_path / "log.csv", population(20))))
    before = live.ends(CLEARED), held(live)

    found = json.loads(live.run("reset", "default", "--dry-run", "--output", "json"))

    assert found["cleared"] is False
    assert found["topics"]["requests"] == len(live.records("requests"))
    assert set(found["topics"]) == set(CLEARED)
    assert found["kept"] == ["catalog", "control", "controls"]
    assert (live.ends(CLEARED), held(live)) == before


def test_one_pool_of_several_is_not_reset_alone(
    live: Live, run_foremesh: RunForemesh, catalogue: Path
) -> None:
    more = catalogue.with_name("more.yaml")
    more.write_text(CATALOGUE + "  studio: {cpu: 700, memory: 600, bandwidth: 20}\n")
    live.catalogue(more)
    for named, says in (("default", "Not without studio"), ("defualt", "no pool defualt")):
        refused = run_foremesh("reset", named, "--yes")
        assert refused.wait() == 1
        assert says in refused.output

    assert "Cleared." in live.run("reset", "default", "studio", "--yes")


@pytest.mark.parametrize(("answer", "left"), [("n", True), ("y", False)])
def test_it_asks_first_and_does_only_what_is_wanted(
    live: Live, tmp_path: Path, *, answer: str, left: bool
) -> None:
    live.run("produce", str(log(tmp_path / "log.csv", population(20))))
    with closing(Asked(live.settings)) as reset:
        reset.answer(answer)

    assert reset.process.returncode == (1 if left else 0), reset.said
    assert bool(held(live)) is left


def test_what_was_started_while_it_asked_is_seen_before_anything_is_cleared(
    live: Live, tmp_path: Path
) -> None:
    live.run("produce", str(log(tmp_path / "log.csv", population(20))))
    before = held(live)
    with closing(Asked(live.settings)) as reset:
        live.sink()
        sink = live.settings.group("sink")
        eventually(lambda: members(connect(live.settings), sink))
        reset.answer("y")

    assert reset.process.returncode == 1
    assert "Still running: sink on" in reset.said
    assert held(live) == before
    assert check_topics(live.settings) == []


def test_without_a_terminal_it_wants_to_be_told(run_foremesh: RunForemesh, live: Live) -> None:
    del live
    asked = run_foremesh("reset", "default")
    assert asked.wait() == 2
    assert "say --yes" in asked.output
