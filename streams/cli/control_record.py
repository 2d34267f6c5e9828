"""Control records of pools for commands: who says what and why, and that it is in force."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import wraps
from typing import Any

import click

from streams.cli.output import json_option, tell
from streams.pipeline.operator_word import OperatorWord
from streams.records.control import Control

__all__ = ["CONTROL_KEYS", "as_json", "in_words", "word_options"]

CONTROL_KEYS = (
    "pool, mode, paused, budget_per_hour, pins (least, most, days, from_minute, until_minute),"
    " quotas, reason, variants (price, slack, settle_ms), by, at_ms"
)


def word_options(command: Callable[..., Control]) -> Callable[..., None]:
    """The options --reason and --by, given to the command as its `word`, and --output.

    What the command returns is told as being in force.
    """

    @click.option(
        "--reason", default="", show_envvar=True, help="Reason for the change, kept with it."
    )
    @click.option("--by", show_envvar=True, help="Who wants it.  [default: the user that runs it]")
    @json_option(CONTROL_KEYS)
    @wraps(command)
    def with_word(*args: Any, reason: str, by: str | None, output: str, **given: Any) -> None:
        new = command(*args, word=OperatorWord(by=by or _user(), reason=reason), **given)
        words = "; ".join(f"{what} {how}" for what, how in in_words(new))
        tell(output, as_json(new), f"In force in {new.pool}: {words}")

    return with_word


def in_words(control: Control) -> Iterator[tuple[str, str]]:
    """The mode, and all else that is in force."""
    yield "mode", f"{control.mode.value}, paused" if control.paused else control.mode.value
    if control.budget is not None:
        yield "budget", f"{control.budget:g} an hour"
    yield from (("pin", pin.words) for pin in control.pins)
    yield from (("quota", f"{quota.tier}: {quota.budget:g} an hour") for quota in control.quotas)
    if control.variants:
        yield "decided by", " before ".join(variant.name for variant in control.variants)


def as_json(control: Control) -> dict[str, Any]:
    """A control record as plain values."""
    return {
        "pool": control.pool,
        "mode": control.mode.value,
        "paused": control.paused,
        "budget_per_hour": control.budget,
        "pins": [asdict(pin) for pin in control.pins],
        "quotas": [{"tier": q.tier, "budget_per_hour": q.budget} for q in control.quotas],
        "reason": control.reason,
        "variants": [asdict(variant) for variant in control.variants or (control.champion,)],
        "by": control.by,
        "at_ms": control.at_ms,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return ""
