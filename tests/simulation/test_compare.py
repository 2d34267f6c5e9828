"""Each policy on examples worked by hand: one constituent that starts in 10 s, times in minutes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from streams.catalog.yaml_writer import dump
from streams.cli.compare import command
from streams.errors import CatalogInvalid, LogUnreadable
from streams.lab.compare.advantage import advantages
from streams.lab.compare.histogram import IdleTimes
from streams.lab.compare.ledger import PolicyLedger
from streams.lab.compare.policies import (
    MINUTE_MS,
    BoundedOracle,
    GreedyDual,
    HybridHistogram,
    KeepAlive,
    KeepWarmPolicy,
    OraclePolicy,
    PrewarmingOracle,
)
from streams.lab.compare.run import OURS, PolicyRow, compare, row_of
from streams.lab.compare.staged import RecordLedger, StagedRuns, within
from streams.pipeline.replay import at_price, replay
from streams.records import Instance, Request
from streams.records.catalog import Catalog, Composite, Constituent, Pool, Resources, Tier
from streams.settings import Settings

SETTINGS = Settings(partitions=1)
START = 1 / 6  # of a constituent, in minutes
SMALL = {name: Resources(cpu=1, memory=1024.0) for name in ("a", "b", "c")}
CATALOG = Catalog.of(
    [
        *(Constituent(service=n, needs=r, warm_up_ms=10_000, price=1.0) for n, r in SMALL.items()),
        Tier(tier="standard", weight=1.0, sla_ms=1_000),
        Pool(pool="default", capacity=Resources(cpu=9, memory=9e3)),
    ]
)


def log(*uses: tuple[float, str]) -> list[Request]:
    """Requests of one user, by minute and service."""
    return [
        Request(request_id=f"r{i}", user="ann", service=name, at_ms=int(minute * MINUTE_MS))
        for i, (minute, name) in enumerate(uses)
    ]


def result(policy: KeepWarmPolicy, requests: list[Request]) -> PolicyRow:
    made = list(compare(requests, CATALOG, [policy], warm_up=0.0))
    assert made[:-1] == requests
    row = made[-1]
    assert isinstance(row, PolicyRow)
    return row


def cold(row: PolicyRow) -> int:
    return round(row.cold_start_rate * row.requests)


def warm_minutes(row: PolicyRow) -> float:
    return row.wasted_seconds / 60


GAPS = log((0, "a"), (5, "a"), (20, "a"), (21, "a"))


def test_without_keep_alive_every_request_starts_cold() -> None:
    row = result(KeepAlive(0), GAPS)
    assert (cold(row), row.cold_start_ms) == (4, 40_000)
    assert warm_minutes(row) == pytest.approx(4 * START)  # each start is paid for


def test_keep_alive_spares_what_comes_within_its_time() -> None:
    """Warm from 0 to 15 and from 20 to 21; the requests at 5 and 21 are spared."""
    row = result(KeepAlive(10 * MINUTE_MS), GAPS)
    assert (cold(row), warm_minutes(row)) == (2, 16)
    assert row.wasted_gb_s == pytest.approx(16 * 60)
    assert row.cost == pytest.approx(16 / 60)


def test_warm_time_is_useful_up_to_the_last_use_of_a_life() -> None:
    """Of 16 minutes the first 5 and the last one end in a use."""
    assert result(KeepAlive(10 * MINUTE_MS), GAPS).utility == pytest.approx(6 / 16)


def test_always_warm_is_cold_only_once() -> None:
    row = result(KeepAlive(None), GAPS)
    assert (cold(row), warm_minutes(row)) == (1, 21)


def test_the_oracle_pays_only_for_gaps_that_end_in_a_use() -> None:
    """Warm from 0 to 5 and from 20 to 21."""
    row = result(OraclePolicy(10 * MINUTE_MS), GAPS)
    assert (cold(row), round(warm_minutes(row), 3)) == (2, 6)


def test_the_oracle_that_pre_warms_is_never_cold_and_pays_for_a_start_or_a_shorter_gap() -> None:
    gaps = log((0, "a"), (5, "a"), (5 + START / 2, "a"), (5 + START / 2, "b"))

    row = result(PrewarmingOracle(CATALOG.constituents), gaps)

    assert (cold(row), row.cold_start_ms) == (0, 0)
    # The start before the first request is not counted, as nothing is before it.
    assert warm_minutes(row) == pytest.approx((START + START / 2) + START)


@given(
    st.lists(
        st.tuples(st.integers(0, 400).map(lambda tenth: tenth / 10), st.sampled_from("abc")),
        min_size=1,
    )
)
def test_no_policy_without_waits_is_warm_for_less_than_the_oracle_that_pre_warms(
    uses: list[tuple[float, str]],
) -> None:
    requests = log(*sorted(uses))

    row = result(PrewarmingOracle(CATALOG.constituents), requests)

    times: dict[str, list[int]] = {}
    for request in requests:
        times.setdefault(request.service, []).append(request.at_ms)
    gaps_ms = [b - a for found in times.values() for a, b in pairwise(found)]
    first_ms = [found[0] - requests[0].at_ms for found in times.values()]
    least_ms = sum(min(gap, 10_000) for gap in [*gaps_ms, *first_ms])
    assert row.cold_start_ms == 0
    # A short gap is counted from the use, to the millisecond at which the next one comes.
    assert row.wasted_seconds == pytest.approx(least_ms / 1000, abs=0.001 * len(uses))


def test_a_request_that_meets_a_start_under_way_waits_for_the_rest_of_it() -> None:
    row = result(KeepAlive(MINUTE_MS), log((0, "a"), (0.1, "a")))
    assert row.cold_start_ms == 10_000 + 4_000


def test_greedy_dual_evicts_what_is_used_least() -> None:
    """Room for two: a (used twice) stays, b goes when c comes, and is cold at its next use."""
    uses = log((0, "a"), (1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "b"))
    row = result(GreedyDual(2048.0), uses)
    assert cold(row) == 4
    assert warm_minutes(row) == pytest.approx(5 + 1 + 2 + START)


def test_the_oracle_in_bounded_memory_gives_up_what_is_not_used_for_longest() -> None:
    """Room for two: a goes when c comes, although it was used twice, for b comes again first."""
    uses = log((0, "a"), (1, "a"), (2, "b"), (3, "c"), (4, "c"), (5, "b"), (9, "a"))
    row = result(BoundedOracle(2048.0), uses)
    assert cold(row) == 4
    assert warm_minutes(row) == pytest.approx(3 + 7 + 6 + START)


def test_the_oracle_in_bounded_memory_keeps_what_starts_slowly() -> None:
    """Room for one: a, slow and used later, and not b, fast and used sooner."""
    slow = Constituent(service="a", needs=SMALL["a"], warm_up_ms=100_000, price=1.0)
    catalog = Catalog.of([*CATALOG, slow])
    uses = log((0, "a"), (1, "b"), (2, "b"), (5, "a"))
    (row,) = [
        made
        for made in compare(uses, catalog, [BoundedOracle(1024.0)], warm_up=0.0)
        if isinstance(made, PolicyRow)
    ]
    assert row.cold_start_ms == 100_000 + 2 * 10_000


def test_greedy_dual_keeps_nothing_that_does_not_fit() -> None:
    row = result(GreedyDual(512.0), log((0, "a"), (1, "a")))
    assert cold(row) == 2
    assert warm_minutes(row) == pytest.approx(2 * START)


def test_the_histogram_warms_shortly_before_a_regular_use() -> None:
    """Every half hour: once known, given up at once and warm again 27 minutes later."""
    row = result(HybridHistogram(), log(*((30 * i, "a") for i in range(20))))
    assert cold(row) == 1
    learnt = 4 * 30  # minutes until four idle times are known
    assert warm_minutes(row) == pytest.approx(learnt + 15 * 3)


def test_a_histogram_without_shape_is_not_relied_upon() -> None:
    flat, peaked = IdleTimes(10), IdleTimes(10)
    for minute in range(10):
        flat.add(minute)
        peaked.add(7)
    assert not flat.representative
    assert peaked.representative
    assert (peaked.percentile(0.05), peaked.percentile(0.99)) == (7, 7)


def runs(requests: list[Request]) -> StagedRuns:
    return StagedRuns(requests, within(CATALOG, math.inf), requests[0].at_ms, SETTINGS)


def ours(price: float, requests: list[Request]) -> PolicyRow:
    return row_of(OURS, "", runs(requests).account(price))


def test_the_stages_keep_warm_what_is_asked_for_regularly_and_learn_nothing_beforehand() -> None:
    assert 1 <= cold(ours(1.0, log(*((0.5 * i, "a") for i in range(40))))) <= 3


def test_the_stages_give_up_what_is_not_asked_for_again() -> None:
    row = ours(100.0, log((0, "b"), (600, "b")))
    assert cold(row) == 2
    assert warm_minutes(row) < 5


def test_the_stages_warm_for_a_use_that_always_follows_another() -> None:
    """Every 20 minutes a, and b two minutes later: b is warm for that, not in between."""
    uses = log(*((20 * i + 2 * j, "ab"[j]) for i in range(60) for j in range(2)))
    rows = [ours(10.0, uses), result(KeepAlive(10 * MINUTE_MS), uses)]
    assert cold(rows[0]) < 0.6 * cold(rows[1])
    assert warm_minutes(rows[0]) < warm_minutes(rows[1])


def test_a_higher_price_never_makes_the_stages_keep_more() -> None:
    """What is recorded is the same log at several prices; memory grows with the worth."""
    uses = log(*((7 * i + (i * i) % 5, "abc"[i % 3]) for i in range(60)))
    minutes = [warm_minutes(ours(price, uses)) for price in (100.0, 10.0, 1.0, 0.1)]
    assert minutes == sorted(minutes)
    assert minutes[0] < minutes[-1]


def test_prices_are_replayed_in_processes_that_tell_how_far_they_are() -> None:
    uses = log(*((i, "abc"[i % 3]) for i in range(250)))
    *told, accounts = runs(uses).run([1.0, 0.1])
    assert sum(count for count in told if isinstance(count, int)) <= 2 * 250
    assert isinstance(accounts, list)
    alone = [runs(uses).account(price) for price in (1.0, 0.1)]
    assert [row_of(OURS, "", a) for a in accounts] == [row_of(OURS, "", a) for a in alone]


@pytest.mark.parametrize("price", [3.0, 0.3])
def test_a_row_is_what_replay_does_at_that_price_to_the_last_start_and_release(
    price: float,
) -> None:
    uses = log(*((7 * i + (i * i) % 5, "abc"[i % 3]) for i in range(60)))
    catalog, account = within(CATALOG, math.inf), RecordLedger(PolicyLedger(CATALOG, uses[0].at_ms))
    replayed = list(replay([*at_price(price, catalog), *uses], SETTINGS, catalog))
    lives = [record for record in replayed if isinstance(record, Instance)]
    for record in replayed:
        account.take(record)
    assert len(lives) > 10
    assert row_of(OURS, "", account.close(uses[-1].at_ms)) == ours(price, uses)


def test_memory_that_runs_out_costs_the_least_recently_used() -> None:
    """Room for two: c at 2 takes the place of a, which is cold at 3 and takes that of b."""
    uses = log((0, "a"), (1, "b"), (2, "c"), (3, "a"), (4, "c"))
    made = compare(uses, CATALOG, [KeepAlive(None)], warm_up=0.0, capacity_mib=2048)
    row = next(row for row in made if isinstance(row, PolicyRow))
    assert (cold(row), warm_minutes(row)) == (4, 2 + 2 + 2 + 1)


def test_what_a_composite_starts_does_not_end_what_it_uses() -> None:
    """Room for two: where b is warm longest, the start of c for a and c ends it, and not a."""
    both = Composite(service="both", steps=(("c", "a"),))
    catalog = Catalog.of([*CATALOG, both])
    made = compare(
        log((0, "b"), (1, "a"), (2, "both"), (3, "a")),
        catalog,
        [KeepAlive(None)],
        warm_up=0.0,
        capacity_mib=2048,
    )
    row = next(row for row in made if isinstance(row, PolicyRow))
    assert (cold(row), row.cold_start_ms) == (3, 30_000)


def test_the_stages_never_hold_more_than_the_memory_there_is() -> None:
    """Room for one, and two that are asked for in turn."""
    catalog, held, most = within(CATALOG, 1024), set[str](), 0
    uses = log(*((i, "ab"[i % 2]) for i in range(60)))
    for record in replay([*at_price(0.01, catalog), *uses], SETTINGS, catalog):
        if isinstance(record, Instance):
            (held.add if record.gone_ms is None else held.discard)(record.instance_id)
            most = max(most, len(held))
    assert most == 1


def test_policies_may_learn_from_a_part_that_does_not_count() -> None:
    rows = list(compare(GAPS, CATALOG, [KeepAlive(None)], warm_up=0.5))
    assert isinstance(rows[-1], PolicyRow)
    assert (rows[-1].requests, rows[-1].cold_start_rate) == (2, 0.0)
    assert warm_minutes(rows[-1]) == 1


def test_the_command_writes_a_row_for_every_policy_and_parameter(tmp_path: Path) -> None:
    path, rows, figure = tmp_path / "log.csv", tmp_path / "rows.json", tmp_path / "curve.html"
    lines = [f"ann,a,{1_700_000_000 + 60 * i}" for i in range(30)]
    path.write_text("\n".join(["user,service,time", *lines]), encoding="utf-8")
    arguments = [str(path), "--json", str(rows), "--figure", str(figure), "--warm-up", "0"]
    found = CliRunner().invoke(command, arguments, obj=Settings())
    assert found.exit_code == 0, found.output
    made = json.loads(rows.read_text(encoding="utf-8"))
    names = {"keep-alive", "always warm", "hybrid histogram", "greedy-dual", "foremesh"}
    names |= {"oracle, no pre-warming", "oracle, pre-warming"}
    assert names | {"no keep-alive"} == {row["policy"] for row in made}
    assert all(f"<!-- {name} -->" in figure.read_text(encoding="utf-8") for name in names)


def test_a_catalogue_with_layers_is_refused_in_a_sentence(tmp_path: Path) -> None:
    base, top = (Constituent(service=n, needs=SMALL["a"], warm_up_ms=1, price=1.0) for n in "xy")
    catalog, path = tmp_path / "catalog.yaml", tmp_path / "log.csv"
    path.write_text("user,service,time\nann,y,1700000000", encoding="utf-8")
    layers = Catalog.of([*CATALOG, base, replace(top, base="x")])
    catalog.write_text(dump(layers), encoding="utf-8")
    found = CliRunner().invoke(command, [str(path), "--catalog", str(catalog)], obj=Settings())
    assert isinstance(found.exception, CatalogInvalid)
    assert "'x' is the base of other constituents" in str(found.exception)


@pytest.mark.parametrize(("others", "told"), [("", ""), ("ann,a,9\n", "1 of 2 requests")])
def test_requests_that_no_stage_would_take_are_told(tmp_path: Path, others: str, told: str) -> None:
    log, catalog = tmp_path / "log.csv", tmp_path / "catalog.yaml"
    log.write_text("user,item,ts\n" + "ann" * 100 + ",a,8\n" + others)
    catalog.write_text(dump(Catalog.of(CATALOG)), encoding="utf-8")
    arguments = [str(log), "--catalog", str(catalog), "--policies", "keep-alive"]
    found = CliRunner().invoke(command, arguments, obj=Settings())
    if told:
        assert f"{told} cannot be used: " in found.stderr
    else:
        assert isinstance(found.exception, LogUnreadable)
        assert str(found.exception).startswith("1 of 1 requests cannot be used: ")


def test_requests_are_left_out_for_the_commonest_reasons_that_are_told(tmp_path: Path) -> None:
    log, catalog = tmp_path / "log.csv", tmp_path / "catalog.yaml"
    rows = [f"ann,{service},8\n" for service in ("", "x", "x", "x", "y", "y")]
    log.write_text("user,item,ts\n" + "".join(rows))
    serving_a = Catalog.of([*CATALOG, Composite(service="a", steps=(("a",),))])
    catalog.write_text(dump(serving_a), encoding="utf-8")
    found = CliRunner().invoke(command, [str(log), "--catalog", str(catalog)], obj=Settings())
    assert str(found.exception) == (
        "6 of 6 requests cannot be used: service 'x' is not in the catalogue (3);"
        " service 'y' is not in the catalogue (2); service is empty (1)"
    )


def test_a_log_without_times_is_not_compared(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item,when\na,b,2026-11-01\na,b,2026-11-02\n")
    found = CliRunner().invoke(command, [str(log)], obj=Settings())

    assert isinstance(found.exception, LogUnreadable)
    assert "name the column of times with --time" in str(found.exception)


def test_an_unknown_policy_is_named() -> None:
    found = CliRunner().invoke(command, ["log.csv", "--policies", "magic"], obj=Settings())
    assert found.exit_code == 2
    assert "'magic' is none of keep-alive" in found.output


def row(policy: str, gb_h: float, cold: float, wait_s: float = 10) -> PolicyRow:
    """A point of a curve, of 1,000 requests that wait so long for each start."""
    return PolicyRow(
        policy=policy,
        parameter="",
        requests=1_000,
        cold_start_rate=cold,
        cold_start_ms=round(1_000_000 * wait_s * cold),
        wasted_seconds=gb_h * 3600,
        wasted_gb_s=gb_h * 3600,
        cost=gb_h,
    )


def test_the_advantage_is_against_the_best_point_of_any_other_policy() -> None:
    rows = [
        row("keep-alive", 400, 0.02),
        row("greedy-dual", 100, 0.04),  # keep-alive is beaten here
        row("keep-alive", 200, 0.05),
        row("foremesh", 50, 0.04),
        row("foremesh", 200, 0.02),
    ]

    (at,) = advantages(rows, [0.04])

    assert (at.gb_hours, at.cold_s) == pytest.approx((100, 400))
    # Halfway between 50 and 200 in the logarithm, so between 400 and 200 s.
    assert at.ours_cold_s == pytest.approx(math.sqrt(200 * 400))


def test_who_waits_least_often_need_not_be_who_waits_least_long() -> None:
    rows = [
        row("keep-alive", 100, 0.04),
        row("greedy-dual", 100, 0.05, wait_s=2),
        row("keep-alive", 400, 0.02),
        row("foremesh", 100, 0.04, wait_s=1),
    ]

    (at,) = advantages(rows, [0.04])

    assert (at.gb_hours, at.cold_s, at.ours_cold_s) == pytest.approx((100, 100, 40))


def test_there_is_no_advantage_where_a_curve_does_not_reach() -> None:
    rows = [row("keep-alive", 100, 0.04), row("keep-alive", 50, 0.06), row("foremesh", 50, 0.05)]

    (below, beyond, beside) = advantages(rows, [0.01, 0.04, 0.06])

    assert math.isnan(below.gb_hours)
    assert beyond.gb_hours == pytest.approx(100)
    assert math.isnan(beyond.ours_cold_s)
    assert beside.ours_cold_s == pytest.approx(500)


def test_the_total_cost_counts_what_a_wait_is_worth_to_its_tier() -> None:
    found = compare(log((0, "a"), (10, "a")), CATALOG, [KeepAlive(0)], warm_up=0.0)

    (row,) = [found for found in found if isinstance(found, PolicyRow)]
    assert row.cold_start_ms == 20_000
    assert row.total_cost == pytest.approx(20.0 + 2 * START / 60)
