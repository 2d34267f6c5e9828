"""A recorded log leads to the same rows by `replay` and over Kafka, at any speed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from harness import RunForemesh, eventually
from live import Live
from psycopg.sql import SQL, Identifier
from test_same_as_replay import CATALOGUE, population

from streams.adapters.postgres.tables import TABLES
from streams.devstack import LocalStack
from streams.settings import Settings

NUMBER = 400
DURATION = ("--duration", "seconds", "--duration-unit", "s")
# What differs: where a record stood, and when it came.
PLACES = {"kafka_offset", "kafka_topic", "kafka_partition"}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    return replace(settings, clock="event", rnn=getattr(request, "param", "off"))


@pytest.fixture
def replayed(stack: LocalStack, template: str, settings: Settings) -> Iterator[str]:
    """The URL of another database with the schema."""
    name = f"replayed_{settings.prefix.strip('-')}"
    yield stack.postgres.create(name, template)
    stack.postgres.drop(name)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOGUE)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The population's requests, some of one instant; one row is none, one asks for nothing known.

    Each is served for up to twenty seconds, so many find an instance busy.
    """
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "service", "time", "tier", "seconds"])
        for number, request in enumerate(population(NUMBER)):
            at_ms = request.at_ms // 10_000 * 10_000
            seconds = 2 * (number % 11)
            rows.writerow([request.user, request.service, at_ms, request.tier, seconds])
            if number == NUMBER // 3:
                rows.writerow(["user1", "sketch", "soon", "gold", ""])
                rows.writerow(["user2", "sculpture", at_ms, "gold", ""])
    return path


def rows(url: str, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """Some columns of a table, in order."""
    wanted = SQL(", ").join(map(Identifier, columns))
    with psycopg.connect(url) as connection:
        query = SQL("SELECT {} FROM {}").format(wanted, Identifier(table))
        return sorted(connection.execute(query).fetchall(), key=repr)


def assert_same_rows(one: str, other: str) -> None:
    """Every table has the same rows in two databases."""
    for table in TABLES:
        apart = PLACES | ({"at_ms"} if table.name == "dead_letters" else set())
        columns = [name for name in table.names if name not in apart]
        found = rows(one, table.name, columns)
        assert found == rows(other, table.name, columns), table.name
        assert found or table.name in {"trials", "controls"}, table.name


@pytest.mark.timeout(300)
def test_a_log_leads_to_the_same_rows_over_kafka_and_by_replay(
    live: Live, run_foremesh: RunForemesh, replayed: str, log: Path, catalogue: Path
) -> None:
    live.catalogue(catalogue)
    live.sink()
    worker = live.worker()
    live.run("produce", str(log), "--wait", *DURATION)
    run = ("--postgres", replayed, "replay", str(log), "--catalog", str(catalogue), "--postgres")
    for _ in range(2):  # the second time changes nothing
        run_foremesh(*run, *DURATION).finish(120)

    assert_same_rows(live.settings.postgres, replayed)
    assert live.rows("outcomes") == NUMBER
    places = rows(replayed, "dead_letters", ["kafka_topic", "stage"])
    assert places == [("log.csv", "produce"), ("log.csv/requests", "profiler")]
    results = {result for (result,) in live.query("SELECT DISTINCT result FROM outcomes")}
    assert results == {"hit", "partial", "miss"}  # it is worth comparing
    assert live.query("SELECT max(busy_ms) > 0 FROM instances") == [(True,)]
    eventually(lambda: "log.csv, complete: 401 requests" in worker.output)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("settings", ["off", "on"], indirect=True, ids=["counts", "network"])
def test_so_it_does_when_the_worker_is_killed_in_the_middle(
    live: Live, run_foremesh: RunForemesh, replayed: str, log: Path, catalogue: Path
) -> None:
    live.catalogue(catalogue)
    worker = live.worker()
    live.sink()
    live.run("produce", str(log), *DURATION)
    for so_many in (40, 200):
        eventually(lambda n=so_many: live.rows("outcomes") > n)  # type: ignore[misc]
        worker.kill()
        assert live.rows("outcomes") < NUMBER
        worker = live.worker()
    run = ("--postgres", replayed, "replay", str(log), "--catalog", str(catalogue), "--postgres")
    run_foremesh(*run, *DURATION).finish(120)
    live.be_quiet()

    assert_same_rows(live.settings.postgres, replayed)
    models = live.query("SELECT DISTINCT model FROM predictions")
    assert models == [("mixture+rnn/2" if live.settings.rnn == "on" else "mixture/6",)]
