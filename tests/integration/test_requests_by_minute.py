"""The sums that the database keeps of requests are those of its outcomes, whatever is done to it."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread
from typing import Any

import psycopg
import pytest
from harness import RunForemesh
from test_report_from_database import OUTCOME, PREDICTION, store

from streams.records import Outcome, Result, Route
from streams.settings import Settings

MINUTE = 60_000
KEPT = """
    SELECT pool, minute_ms, tier, sum(requests), sum(hits), sum(refused), sum(cold_ms), sum(saved_ms)
    FROM requests_by_minute GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
COUNTED = """
    SELECT pool, at_ms - mod(at_ms, 60000), tier, count(*), count(*) FILTER (WHERE result = 'hit'),
        count(*) FILTER (WHERE route = 'refused'), sum(cold_ms), sum(saved_ms)
    FROM outcomes GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""


def outcomes(first: int, count: int) -> list[Outcome]:
    """Outcomes a second apart, of two pools and tiers."""
    return [
        replace(
            OUTCOME, request_id=f"r{n}", at_ms=OUTCOME.at_ms + 1_000 * n, cold_ms=n,
            pool=("default", "other")[n % 2], tier=("gold", "standard")[n % 3 % 2],
            result=(Result.HIT, Result.MISS)[n % 5 % 2],
            route=Route.REFUSED if n % 7 == 0 else Route.PREALLOCATED,
        )
        for n in range(first, first + count)
    ]  # fmt: skip


def both(settings: Settings) -> tuple[list[Any], list[Any]]:
    with psycopg.connect(settings.postgres) as connection:
        return connection.execute(KEPT).fetchall(), connection.execute(COUNTED).fetchall()


def test_sums_are_those_of_the_outcomes_also_when_some_come_again(settings: Settings) -> None:
    store(settings, outcomes(0, 200))
    store(settings, outcomes(100, 200))

    kept, counted = both(settings)
    assert kept == counted
    assert sum(row[3] for row in kept) == 300


def test_sinks_that_write_at_once_add_up(settings: Settings) -> None:
    threads = [Thread(target=store, args=(settings, outcomes(1_000 * n, 300))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kept, counted = both(settings)
    assert kept == counted
    assert sum(row[3] for row in kept) == 1_200


def test_what_is_pruned_is_no_longer_counted(settings: Settings, run_foremesh: RunForemesh) -> None:
    newest = replace(PREDICTION, made_ms=OUTCOME.at_ms + 300_000)
    store(settings, [*outcomes(0, 300), newest])

    run_foremesh("db", "prune", "--keep", "150s").finish()

    kept, counted = both(settings)
    assert kept == counted
    assert 0 < sum(row[3] for row in kept) < 300


@pytest.mark.parametrize("statement", ["TRUNCATE outcomes", "DELETE FROM outcomes"])
def test_of_no_outcomes_there_are_no_sums(settings: Settings, statement: str) -> None:
    store(settings, outcomes(0, 50))
    with psycopg.connect(settings.postgres) as connection:
        connection.execute(statement.encode())

    assert both(settings) == ([], [])
