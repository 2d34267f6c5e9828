from __future__ import annotations

import pytest
from click.testing import CliRunner

from streams.cli.control import command, pin_of, pin_text
from streams.control import Control, Pin
from streams.settings import Settings


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
    assert pin_text(pin) == "a: at least 1, at most 3, mon fri 08:00-18:30"


def test_of_several_pins_the_narrowest_holds_and_the_most_outweighs_the_least() -> None:
    pins = (Pin(service="a", least=4, most=9), Pin(service="a", least=1, most=2))
    assert Control(pool="p", pins=pins).limits(0) == {"a": (2, 2)}
