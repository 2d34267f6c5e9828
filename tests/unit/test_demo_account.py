from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from streams.demo.account import Account, PlayedArm, account
from streams.demo.load import LoadResult
from streams.demo.picture import bars
from streams.demo.population import SyntheticRequest
from streams.demo.results import tables, verdict
from streams.demo.studio import TIER, catalogue
from streams.records import Instance, InstanceState, Outcome, Part, Result, Route

STUDIO = catalogue(1)
BEGAN_MS = 1_000_000
ASK = SyntheticRequest(at_s=0.0, user="ann", service="upscale")
ARM = PlayedArm(
    pool="studio",
    title="foremesh",
    asks=[replace(ASK, at_s=-5.0), replace(ASK, first=True), replace(ASK, new=True)],
    load=LoadResult(began_ms=BEGAN_MS),
    ended_ms=BEGAN_MS + 40_000,
)
HIT = Outcome(
    request_id=ARM.name(1),
    user="ann",
    tier=TIER.tier,
    pool="studio",
    service="upscale",
    at_ms=BEGAN_MS,
    result=Result.HIT,
    route=Route.PREALLOCATED,
    status=200,
    latency_ms=205.0,
    cold_ms=0,
    saved_ms=800,
    parts=(Part(service="upscale model", warm=True, instance_id="i1"),),
)
MISS = replace(
    HIT, request_id=ARM.name(2), result=Result.MISS, route=Route.STANDARD, cold_ms=800, saved_ms=0
)
INSTANCE = Instance(
    instance_id="i1",
    service="upscale model",
    pool="studio",
    state=InstanceState.GONE,
    endpoint="http://127.0.0.1:1",
    command_id="c1",
    started_ms=BEGAN_MS - 2_000,
    changed_ms=BEGAN_MS + 36_000,
    warm_since_ms=BEGAN_MS - 1_000,
    gone_ms=BEGAN_MS + 36_000,
)
PRICE = STUDIO.constituents["upscale model"].price


def arm(title: str, hits: int, spent: float, waited_s: float) -> Account:
    return Account(
        title=title,
        requests=300,
        served=300,
        late=0,
        hits=hits,
        started_before=hits,
        waited_s=waited_s,
        warm_s=0.0,
        spent=spent,
        waiting=waited_s * TIER.weight,
        shares={
            "first of session": (hits // 10, 50),
            "later in session": (hits // 2, 200),
            "new users": (hits // 10, 50),
        },
    )


ARMS = [
    arm("no pre-allocation", 15, 0.1, 400.0),
    arm("keep-alive of 10.0 s", 200, 0.40, 100.0),
    arm("foremesh", 230, 0.41, 70.0),
]


def test_an_arm_is_accounted_for_from_time_0_to_its_last_answer() -> None:
    lead = replace(MISS, request_id=ARM.name(0))
    found = account(ARM, [lead, HIT, MISS], [INSTANCE], STUDIO)

    assert (found.requests, found.served, found.hits, found.started_before) == (2, 2, 1, 1)
    assert found.waited_s == 0.8
    assert found.waiting == pytest.approx(0.8 * TIER.weight)
    assert found.warm_s == 36.0
    assert found.spent == pytest.approx(PRICE * 36 / 3600)
    assert found.shares == {
        "first of session": (1, 1),
        "later in session": (0, 0),
        "new users": (0, 1),
    }


def test_an_instance_that_is_not_gone_is_paid_to_the_last_answer() -> None:
    found = account(ARM, [], [replace(INSTANCE, gone_ms=None)], STUDIO)

    assert found.warm_s == 40.0


def test_instances_of_other_arms_and_simulated_ones_cost_nothing() -> None:
    others = [replace(INSTANCE, pool="other"), replace(INSTANCE, endpoint="")]

    assert account(ARM, [], others, STUDIO).spent == 0.0


def test_a_hit_by_an_instance_that_was_started_later_is_not_counted_as_started_before() -> None:
    late = replace(INSTANCE, started_ms=BEGAN_MS + 1)

    assert account(ARM, [HIT], [late], STUDIO).started_before == 0


def test_the_verdict_says_who_waits_less_for_the_same_money_and_where_that_helps_least() -> None:
    said = verdict(ARMS, 0.66)

    assert "about as much as a keep-alive of 10.0 s on warm instances" in said
    assert "wait 30 % less than it, and 82 % less than no pre-allocation" in said
    assert "cost 11 % less than with the timer" in said
    assert "best keep-alive of any length would have cost 2.20 for 1,000" in said
    assert "least where the table says 'first of session': 46 % found warm against 40 %" in said


def test_a_loss_is_called_one() -> None:
    without, timer, foremesh = ARMS
    said = verdict([without, replace(timer, waited_s=35.0, waiting=0.1), foremesh], 0.5)

    assert "wait 100 % more than it" in said
    assert "cost 24 % more than with the timer" in said


def test_tables_and_bars_fit_into_80_columns() -> None:
    text = io.StringIO()
    Console(file=text, width=200).print(*tables(ARMS), *bars(ARMS), sep="\n")

    lines = text.getvalue().splitlines()
    assert max(map(len, (line.rstrip() for line in lines))) <= 80
    assert any(
        line.split() == ["foremesh", "77", "%", "233", "1.37", "0.70", "2.07"] for line in lines
    )


def test_the_longest_bar_is_that_of_the_dearest_arm() -> None:
    marks = [bar.count("█") + bar.count("░") for bar in bars(ARMS)]

    assert marks[0] == max(marks)
    assert marks[1] > marks[2]
