from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from streams.cli.control import command, pin_of
from streams.cli.trial import as_json, challenged, promoted, tables
from streams.records.control import STANDARD, Control, Pin, Variant
from streams.records.trials import Score, Trial
from streams.settings import Settings

BOLD = Variant(name="bold", price=0.5)


def refused(*args: str) -> str:
    result = CliRunner().invoke(command, [*args], obj=Settings(kafka="127.0.0.1:1"))
    assert result.exit_code == 2
    return result.output


@pytest.mark.parametrize("time", ["8:30", "24:01", "12:60", "noon"])
def test_what_is_no_time_of_day_is_refused(time: str) -> None:
    said = refused("pin", "default", "a", "--min", "1", "--from", time)
    assert "is no time of day" in said


@pytest.mark.parametrize("limits", [(), ("--min", "3", "--max", "2")])
def test_a_pin_that_says_nothing_or_can_never_hold_is_refused(limits: tuple[str, ...]) -> None:
    assert "--min" in refused("pin", "default", "a", *limits)


def test_a_mode_that_there_is_not_is_refused() -> None:
    assert "'advise'" in refused("mode", "default", "maybe")


def test_a_pin_is_told_as_it_was_given() -> None:
    pin = pin_of("a", least=1, most=3, days=("fri", "mon"), begins=8 * 60, ends=18 * 60 + 30)
    assert pin.days == (1, 5)
    assert pin.words == "a: at least 1, at most 3, mon fri 08:00-18:30"


def test_of_several_pins_the_narrowest_holds_and_the_most_outweighs_the_least() -> None:
    pins = (Pin(service="a", least=4, most=9), Pin(service="a", least=1, most=2))
    assert Control(pool="p", pins=pins).limits(0) == {"a": (2, 2)}


def test_a_challenger_stands_behind_the_champion_and_a_new_one_takes_its_place() -> None:
    now = challenged(Control(pool="p"), BOLD)
    assert now.variants == (STANDARD, BOLD)
    other = Variant(name="other")
    assert challenged(now, other).variants == (STANDARD, other)
    with pytest.raises(click.UsageError, match="take another name"):
        challenged(now, Variant())


def test_promoting_twice_is_promoting_once_and_the_former_champion_takes_it_back() -> None:
    before = challenged(Control(pool="p"), BOLD)
    after = promoted(before, "bold")
    assert after.champion == BOLD
    assert promoted(after, "bold") == after
    assert promoted(after, "standard") == before


def test_what_is_no_variant_of_the_pool_is_not_promoted() -> None:
    with pytest.raises(click.UsageError, match="no variant 'bold', only standard"):
        promoted(Control(pool="p"), "bold")
    withdrawn = Control(pool="p", variants=(BOLD,))
    with pytest.raises(click.UsageError, match="no variant 'standard', only bold"):
        promoted(withdrawn, "standard")


def test_a_trial_is_told_with_its_figures_only_while_it_is_the_one_in_force() -> None:
    word = Control(pool="p", variants=(STANDARD, BOLD))
    scores = (Score(variant="standard"), Score(variant="bold", saved_ms=2_500, worth=3.0, cost=1.0))
    told = {"p": Trial(pool="p", since_ms=0, at_ms=5_000, scores=scores)}
    (found,) = as_json([word], told)
    first, second = found["variants"]
    assert (first["name"], first["in_force"], second["name"]) == ("standard", True, "bold")
    assert (second["score"]["saved_ms"], second["score"]["net"]) == (2_500, 2)
    for other in (Control(pool="p"), promoted(word, "bold"), Control(pool="q", variants=(BOLD,))):
        (found,) = as_json([other], told)
        assert {variant["score"] is None for variant in found["variants"]} == {True}


def test_a_challenger_that_is_ahead_is_named_with_what_takes_it() -> None:
    word = Control(pool="p", variants=(STANDARD, BOLD))
    ahead, behind = Score(variant="bold", worth=3.0, cost=1.0), Score(variant="bold", cost=1.0)
    for score, said in (
        (ahead, "`foremesh control promote p bold` takes it"),
        (behind, "stays ahead"),
    ):
        trial = Trial(pool="p", since_ms=0, at_ms=1, scores=(Score(variant="standard"), score))
        assert said in [*tables([word], {"p": trial})][-1].legend


@pytest.mark.parametrize("amount", ["nan", "inf", "1e300"])
@pytest.mark.parametrize(
    "args", [("budget", "default"), ("challenge", "default", "bold", "--settle")]
)
def test_amounts_of_which_no_record_can_be_made_are_refused(
    args: tuple[str, ...], amount: str
) -> None:
    assert "is no number up to" in refused(*args, amount)


def test_more_instances_than_a_pin_may_name_are_refused() -> None:
    assert "not in the range" in refused("pin", "default", "a", "--min", "10001")
