from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.compare import command
from streams.cli.compare_report import TIMERS, verdict
from streams.lab.compare.run import PolicyRow
from streams.settings import Settings

ROWS = [
    PolicyRow(
        policy=policy,
        parameter=parameter,
        requests=30,
        cold_start_rate=1.0,
        cold_start_ms=300_000,
        wasted_seconds=0.0,
        wasted_gb_s=0.0,
        cost=cost,
        total_cost=cost + 10.0,
    )
    for policy, parameter, cost in [
        ("keep-alive", "10m", 12_345.0),
        ("foremesh", "1 x price", 1_234_567.0),
    ]
]


def test_large_figures_of_the_verdict_are_written_as_people_write_them() -> None:
    said = verdict(ROWS, hours=1.0, today=None, guessed=False, served_s=0.0)

    assert "cost 1,230,000 an hour" in said
    assert "(100 % of the requests)" in said
    assert "with 12,400." in said


def test_the_verdict_says_how_long_half_of_the_requests_took() -> None:
    said = verdict(ROWS, hours=1.0, today=None, guessed=False, served_s=0.032)

    assert "with half of the requests 0.032 s or less" in said


def test_no_keep_alive_may_be_the_timer_of_today_beside_another_without_parameter() -> None:
    nothing, always = [replace(ROWS[0], policy=p, parameter="") for p in TIMERS[::2]]
    today = ("no keep-alive", "")

    said = verdict([always, nothing, ROWS[1]], hours=1.0, today=today, guessed=False, served_s=0.0)

    assert "the timer of today, no keep-alive" in said
    assert "the timer of today, always warm" not in said


@pytest.mark.parametrize("option", [("--format", "csv"), ("--capacity-gb", "8"), ("--every",)])
def test_a_published_protocol_refuses_options_of_other_logs(option: tuple[str, ...]) -> None:
    result = CliRunner().invoke(command, ["table", "--table", "femux", *option], obj=Settings())

    assert result.exit_code == 2
    assert f"{option[0]} has no effect with --table" in result.output


def test_the_timer_of_today_is_compared_beside_an_oracle_with_its_parameter(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,service,ts\n" + "".join(f"a,b,{60 * n}\n" for n in range(1, 40)))
    asked = [str(log), "--policies", "oracle", "--today", "10m", "--output", "json"]

    result = CliRunner().invoke(command, asked, obj=Settings())

    rows = json.loads(result.stdout)["policies"]
    there = {(row["policy"], row["parameter"]) for row in rows}
    assert {("keep-alive", "10 min"), ("oracle, no pre-warming", "10 min")} <= there


@pytest.mark.parametrize(
    ("rows", "hours", "why"),
    [
        (ROWS[:1], 1.0, "foremesh was not compared"),
        (ROWS[1:], 1.0, "no timer was compared"),
        (ROWS, 0.0, "all requests that count came at once"),
    ],
)
def test_without_a_verdict_it_says_why(rows: list[PolicyRow], hours: float, why: str) -> None:
    said = verdict(rows, hours=hours, today=None, guessed=False, served_s=0.0)

    assert said.startswith(f"No verdict: {why}")


def test_of_a_few_requests_no_advice_is_given() -> None:
    few = [replace(row, requests=29) for row in ROWS]

    said = verdict(few, hours=1.0, today=None, guessed=False, served_s=0.0)

    assert "Too early to say: it takes 30 requests." in said
    assert "adopt" not in said.lower()
