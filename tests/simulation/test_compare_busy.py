"""Policies and the stages on logs that say how long requests took: instances are busy meanwhile."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_compare import CATALOG, SETTINGS, START, cold, log, ours, result, warm_minutes

from streams.cli.compare import command
from streams.lab.compare.ledger import NthInstance
from streams.lab.compare.policies import (
    MINUTE_MS,
    KeepAlive,
    ObservedUse,
    PrewarmingOracle,
    WindowPolicy,
)
from streams.lab.compare.run import OURS, PolicyRow, compare, counted_from, row_of
from streams.lab.compare.staged import StagedRuns, within
from streams.records import Request
from streams.records.catalog import Catalog
from streams.settings import Settings


def served(*uses: tuple[float, str, float]) -> list[Request]:
    """Requests of one user, by minute, service and minutes that it is served."""
    found = log(*((minute, name) for minute, name, _ in uses))
    times = [round(minutes * MINUTE_MS) for _, _, minutes in uses]
    return [replace(request, serve_ms=ms) for request, ms in zip(found, times, strict=True)]


TWO_AT_ONCE = served((0, "a", 3), (1, "a", 3), (20, "a", 1))


def test_a_keep_alive_begins_when_a_request_has_been_served() -> None:
    """Served from the end of the start to 3 and 4 minutes later, then kept for 10."""
    row = result(KeepAlive(10 * MINUTE_MS), TWO_AT_ONCE)
    assert (cold(row), row.cold_start_ms) == (3, 30_000)
    assert warm_minutes(row) == pytest.approx((START + 3 + 10) + (START + 3 + 10) + START + 1)


def test_a_request_that_finds_all_busy_is_served_by_what_is_free_first() -> None:
    """The second waits 6 s for the first to end, and not 10 s for the instance that it starts."""
    requests = served((0, "a", 1), (1 + START - 0.1, "a", 1))
    assert result(KeepAlive(None), requests).cold_start_ms == 10_000 + 6_000


def test_what_was_started_for_a_request_that_another_served_is_kept_from_its_start_on() -> None:
    requests = served((0, "a", 1), (1 + START - 0.1, "a", 1), (30, "b", 0))
    row = result(KeepAlive(10 * MINUTE_MS), requests)
    first, second = START + 1 + 1 + 10, START + 10
    assert warm_minutes(row) == pytest.approx(first + second + START)


def test_always_warm_has_as_many_instances_as_were_ever_busy_together() -> None:
    row = result(KeepAlive(None), TWO_AT_ONCE)
    assert (cold(row), row.cold_start_ms) == (2, 20_000)
    assert warm_minutes(row) == pytest.approx(21 + 19)  # the last request is served for a minute


def test_the_oracle_that_pre_warms_has_an_instance_for_each_that_comes_at_once() -> None:
    row = result(PrewarmingOracle(CATALOG.constituents), TWO_AT_ONCE)
    assert (cold(row), row.cold_start_ms) == (0, 0)
    assert warm_minutes(row) == pytest.approx(3 + (START + 3) + (START + 1), abs=0.001)


def test_an_instance_serves_as_many_at_once_as_the_catalogue_says() -> None:
    shared = Catalog.of([*CATALOG, replace(CATALOG.constituents["a"], concurrency=2)])
    *_, row = compare(TWO_AT_ONCE, shared, [KeepAlive(None)], warm_up=0.0)
    assert isinstance(row, PolicyRow)
    assert cold(row) == 1


def test_the_stages_keep_a_second_instance_where_two_are_busy_together() -> None:
    """Each 20 minutes two come within a minute, and each is served for three."""
    uses = [(20 * i + j, "a", 3) for i in range(60) for j in range(2)]
    mine = ours(0.3, served(*uses))
    assert cold(mine) < 0.2 * len(uses)
    alone = ours(0.3, log(*((minute, name) for minute, name, _ in uses)))
    assert warm_minutes(mine) > 1.5 * warm_minutes(alone)


def test_a_steady_load_of_many_at_once_costs_no_more_than_the_best_timer() -> None:
    """Ten are busy in the mean, each for ten seconds, so who finds all busy waits for one second.

    A tenth of a start: to keep one more for each of these would cost more than a start.
    """
    chance, minute, uses = random.Random(3), 0.0, []
    for _ in range(2_500):
        minute += chance.expovariate(60.0)
        uses.append((minute, "a", chance.expovariate(6.0)))
    requests, price = served(*uses), 100.0
    timers = [KeepAlive(m * MINUTE_MS) for m in (0, 1, 2, 5, 10, 20, 30, 60)]
    others = [row for row in compare(requests, CATALOG, timers) if isinstance(row, PolicyRow)]
    account = StagedRuns(
        requests, within(CATALOG, math.inf), counted_from(requests, 0.3), SETTINGS
    ).account(price)

    def total(row: PolicyRow) -> float:
        return price * row.cost + (row.total_cost - row.cost)

    assert total(row_of(OURS, "", account)) < 1.02 * min(map(total, others))


def test_a_request_during_a_long_one_is_served_beside_it_under_a_pre_warming_window() -> None:
    """The histogram ends the first one when it has served, not before: the second is another."""

    class Windows(WindowPolicy):
        def window(self, nth: NthInstance, use: ObservedUse) -> tuple[int, int]:
            del nth, use
            return 30 * MINUTE_MS, MINUTE_MS

    row = result(Windows(), served((0, "a", 10), (5, "a", 1), (12, "a", 1)))
    assert (cold(row), row.cold_start_ms) == (3, 30_000)
    assert warm_minutes(row) == pytest.approx((START + 10) + (START + 1) + (START + 1))


def test_an_instance_that_serves_very_many_at_once_is_kept_as_any_other() -> None:
    many = Catalog.of([*CATALOG, replace(CATALOG.constituents["a"], concurrency=10**6)])
    *_, row = compare(
        served((0, "a", 1), (5, "a", 1), (10, "a", 1)),
        many,
        [KeepAlive(10 * MINUTE_MS)],
        warm_up=0.0,
    )
    assert isinstance(row, PolicyRow)
    assert cold(row) == 1


def test_a_memory_limit_is_refused_where_instances_are_busy(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "user,service,time,took\nann,y,1700000000,5", encoding="utf-8"
    )
    arguments = [str(tmp_path / "log.csv"), "--duration", "took", "--capacity-gb", "1"]
    found = CliRunner().invoke(command, arguments, obj=Settings())
    assert found.exit_code == 2
    assert "--capacity-gb is not compared with --duration yet: leave one out" in found.output
