from __future__ import annotations

import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from harness import CHECKOUT
from pools import World, constituent, demand, pool
from rich.text import Text

from streams.adapters.postgres.explanation import DecisionGrounds
from streams.allocator.valuation.advised_values import MORE
from streams.cli.explain import command as explain
from streams.cli.explain import explained
from streams.records.control import Mode
from streams.records.verdicts import Choice, Expected, Verdict
from streams.report.explanation import decided, what_would_change
from streams.settings import Settings

LEFT = Verdict(
    pool="p",
    service="base",
    at_ms=0,
    choice=Choice.LEAVE,
    mode=Mode.ON,
    command_id="",
    instance=1,
    have=0,
    chance=0.181,
    value=0.005,
    cost=0.02,
    bound="value",
    tier="gold",
    price=0.6,
    horizon_ms=60_000,
    warm_up_ms=10_000,
    expected=(Expected(service="draw", tier="gold", requests=0.2),),
)


def test_the_sum_on_the_page_is_what_the_allocator_computes() -> None:
    page = (CHECKOUT / "docs" / "how-to" / "explain.md").read_text()
    world = World(constituent("pricing"), pool())

    world.hear(demand(1_000, ("pricing", "bronze", 2.3)))

    (verdict,) = world.verdicts
    grounds = DecisionGrounds(
        verdict=verdict, reason="", warm=0, users=(), realised=(), failures=()
    )
    said = " ".join(str(part) for part in explained(grounds) if isinstance(part, Text))
    (quoted,) = re.findall(r"\*(instance 1: [^*]*)\*", page)
    assert quoted in said


def test_of_what_was_left_cold_it_says_how_much_demand_or_how_low_a_price_was_missing() -> None:
    assert list(what_would_change(LEFT)) == [
        "a value 4 times what it was, 0.005 against 0.02",
        "about 0.8 expected requests where 0.2 were",
        "a price below 0.15 an hour where it was 0.6",
    ]


def test_of_what_was_started_it_says_how_little_would_not_have_done() -> None:
    started = replace(LEFT, choice=Choice.START, value=0.04)
    assert list(what_would_change(started)) == [
        "a value below 0.5 times what it was, 0.04 against 0.02",
        "a price above 1.2 an hour where it was 0.6",
    ]


def test_of_what_its_own_past_advised_it_names_that_and_no_value() -> None:
    started = replace(LEFT, choice=Choice.START, value=LEFT.cost * MORE)
    assert list(what_would_change(started)) == [
        "other advice of its own past, which alone made it worth its cost"
    ]


def test_of_what_did_not_fit_it_says_what_there_was_too_little_of() -> None:
    queued = replace(LEFT, choice=Choice.QUEUE, bound="memory", value=0.04)
    (sentence,) = what_would_change(queued)
    assert sentence.startswith("more memory in the pool")


def test_of_what_a_quota_bound_it_names_the_tier() -> None:
    (sentence,) = what_would_change(replace(LEFT, choice=Choice.QUEUE, bound="quota"))
    assert sentence.startswith("a higher quota of tier 'gold'")


def test_what_nobody_was_expected_to_need_is_said_to_be_that() -> None:
    (sentence,) = what_would_change(replace(LEFT, value=0.0))
    assert sentence == "any expected request that needs it: there was none"


def test_of_a_pin_it_says_so() -> None:
    (sentence,) = what_would_change(replace(LEFT, bound="pin"))
    assert "pin" in sentence


def test_of_what_was_kept_it_says_how_many_there_were() -> None:
    kept = replace(LEFT, choice=Choice.KEEP, have=1)
    assert decided(kept) == "1 instance of base, warm or starting, was kept, and no more started"
    assert decided(replace(kept, have=2)).startswith(
        "2 instances of base, warm or starting, were kept"
    )


def test_a_decision_in_the_shadow_says_that_nothing_was_done() -> None:
    assert decided(replace(LEFT, mode=Mode.SHADOW)).startswith("in the shadow")
    assert decided(LEFT) == "no instance of base was started"


def test_a_challengers_decision_says_whose_it_is() -> None:
    said = decided(replace(LEFT, mode=Mode.SHADOW, challenger="bold"))
    assert said.startswith("challenger bold would have decided, on paper")


@pytest.mark.parametrize("option", ["--pool", "--challenger", "--at"])
def test_of_one_command_options_that_choose_among_decisions_are_refused(option: str) -> None:
    value = "2026-01-01T00:00:00Z" if option == "--at" else "a"

    result = CliRunner().invoke(explain, ["a-command", option, value], obj=Settings())

    assert result.exit_code == 2
    assert f"{option} has no effect with COMMAND_ID" in result.output
