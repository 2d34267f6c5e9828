"""A user is forgotten: nothing of them is left where it would stay, and all else is as it was."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from harness import RunForemesh, eventually
from live import Live
from test_same_as_replay import CATALOGUE, population

from streams.adapters.kafka.topic_reader import read_topic
from streams.flow.topology import STAGES, changelog
from streams.settings import Settings

GONE, OTHER = "user3", "user4"
KEYED = ("predictions", *map(changelog, STAGES))
OF_USERS = ("predictions", "prediction_history", "outcomes", "outcome_parts")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, clock="event", partitions=3)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of the population, and of one request of the user's for what nobody serves."""
    path = tmp_path / "log.csv"
    requests = population()
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "service", "time"])
        rows.writerows([r.user, r.service, r.at_ms] for r in requests)
        rows.writerow([GONE, "x" * 9_000, requests[-1].at_ms])
    return path


def kept(live: Live, topic: str, user: str) -> list[str]:
    """The keys on a compacted topic that name a user and have a value."""
    messages = read_topic(live.settings, live.settings.topic(topic))
    last = {(message.key() or b"").decode(): message.value() for message in messages}
    named = {key for key, value in last.items() if value is not None}
    return sorted(key for key in named if key.rpartition("/")[2] == user)


def rows_of(live: Live, user: str) -> dict[str, int]:
    """How many rows each table has of a user."""
    return {
        table: int(live.query(f"SELECT count(*) FROM {table} WHERE user_id = '{user}'")[0][0])
        for table in OF_USERS
    }


@pytest.mark.timeout(300)
def test_a_user_is_forgotten_and_nobody_else(
    live: Live, run_foremesh: RunForemesh, log: Path, tmp_path: Path
) -> None:
    catalogue = tmp_path / "catalog.yaml"
    catalogue.write_text(CATALOGUE)
    live.catalogue(catalogue)
    worker, sink = live.worker(), live.sink()
    live.run("produce", str(log), "--wait")
    before, others = rows_of(live, GONE), rows_of(live, OTHER)
    assert all(before.values())
    refused = run_foremesh("forget", GONE, "--yes")
    assert refused.wait() == 1
    assert "Still running: event-time" in refused.output
    assert worker.stop() == 0

    looked = json.loads(live.run("forget", GONE, "--dry-run", "--output", "json"))
    done = json.loads(live.run("forget", GONE, "--yes", "--output", "json"))

    assert not looked["forgotten"]
    assert done == {**looked, "forgotten": True}
    assert done["tables"] == {**before, "dead_letters": 1}
    assert done["state"] == {"profiler": 1, "aggregator": 2}
    assert not any(rows_of(live, GONE).values())
    assert rows_of(live, OTHER) == others
    assert {topic: kept(live, topic, GONE) for topic in KEYED} == {name: [] for name in KEYED}
    named = [topic for topic in KEYED if kept(live, topic, OTHER)]
    assert named == ["predictions", changelog("profiler"), changelog("aggregator")]
    live.worker()  # goes on with what it knows of the others
    live.run("produce", str(log), "--wait")
    eventually(lambda: rows_of(live, GONE)["predictions"] == 1)
    assert sink.stop() == 0
    assert live.rows("dead_letters") == 1  # the second time; no deletion is one


def test_of_who_is_not_known_nothing_is_kept(live: Live) -> None:
    assert "Nothing is kept of user 'nobody'." in live.run("forget", "nobody", "--dry-run")


@pytest.mark.usefixtures("live")
def test_a_user_is_looked_for_on_the_partitions_that_there_are(
    run_foremesh: RunForemesh,
) -> None:
    refused = run_foremesh("forget", GONE, "--yes", FOREMESH_PARTITIONS="4")

    assert refused.wait() == 1
    assert "partitions, not 4" in refused.output
