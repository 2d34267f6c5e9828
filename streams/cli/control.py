"""`foremesh control`: operator overrides of a pool, in effect within a second."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import click

from streams.cli import pass_settings, trial
from streams.cli.amounts import AmountParam
from streams.cli.command_group import CommandGroup
from streams.cli.control_record import CONTROL_KEYS, as_json, in_words, word_options
from streams.cli.output import json_option, tell
from streams.pipeline.operator_word import OperatorWord, in_force, publish
from streams.records.control import DAY_MINUTES, DAYS, Control, Mode, Pin, Quota
from streams.report.text_table import NAME, WHOLE, TextTable
from streams.settings import Settings
from streams.stages.admission import MOST_INSTANCES

__all__ = ["command", "table_of"]


class MinuteOfDay(click.ParamType):
    """A time of day in UTC, as 08:30; in minutes."""

    name = "hh:mm"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Minutes since midnight."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d\d):([0-5]\d)", str(value))
        minute = int(found[1]) * 60 + int(found[2]) if found else DAY_MINUTES + 1
        if minute > DAY_MINUTES:
            self.fail(f"{value!r} is no time of day from 00:00 to 24:00", param, ctx)
        return minute


@click.group(cls=CommandGroup)
def command() -> None:
    """Set what the allocator may do with a pool, at once and until changed."""


for part in (trial.challenge, trial.trial, trial.promote, trial.withdraw):
    command.add_command(part)


@command.command()
@json_option(f"a list of {CONTROL_KEYS}")
@pass_settings
def show(settings: Settings, output: str) -> None:
    """Show what is in force; a pool not named is on, without limits."""
    controls = list(in_force(settings).values())
    tell(output, [as_json(control) for control in controls], table_of(controls))


def table_of(controls: Iterable[Control]) -> TextTable:
    """What is in force for people: of each pool only what was said."""
    return TextTable(
        columns={"pool": NAME, "what": WHOLE, "in force": NAME},
        rows=[
            (control.pool if i == 0 else "", *said)
            for control in controls
            for i, said in enumerate(_said(control))
        ],
        legend="A pool not named is on, without limits; times of day are in UTC.",
        empty="Nothing: every pool is on, without limits.",
    )


def _said(control: Control) -> Iterator[tuple[str, str]]:
    yield from in_words(control)
    yield "said by", control.by or "unknown"
    if control.reason:
        yield "reason", control.reason


@command.command()
@click.argument("pool")
@click.argument("mode", type=click.Choice([mode.value for mode in Mode]))
@word_options
@pass_settings
def mode(settings: Settings, pool: str, mode: str, word: OperatorWord) -> Control:
    """Set a POOL's MODE.

    on: decide and act. shadow: decide and record, do nothing. advise: predictions only,
    instances stay as they are. off: give back what is idle, then nothing.
    """
    return publish(settings, pool, word, lambda now: replace(now, mode=Mode(mode)))


@command.command()
@click.argument("pool")
@word_options
@pass_settings
def pause(settings: Settings, pool: str, word: OperatorWord) -> Control:
    """Decide nothing for POOL until resumed; what there is stays."""
    return publish(settings, pool, word, lambda now: replace(now, paused=True))


@command.command()
@click.argument("pool")
@word_options
@pass_settings
def resume(settings: Settings, pool: str, word: OperatorWord) -> Control:
    """Decide for POOL again."""
    return publish(settings, pool, word, lambda now: replace(now, paused=False))


@command.command()
@click.argument("pool")
@click.argument("amount", type=AmountParam(min=0), required=False)
@word_options
@pass_settings
def budget(settings: Settings, pool: str, amount: float | None, word: OperatorWord) -> Control:
    """Let warm instances of POOL cost at most AMOUNT an hour; without it, the catalogue's."""
    return publish(settings, pool, word, lambda now: replace(now, budget=amount))


@command.command()
@click.argument("pool")
@click.argument("tier")
@click.argument("amount", type=AmountParam(min=0), required=False)
@word_options
@pass_settings
def quota(
    settings: Settings, pool: str, tier: str, amount: float | None, word: OperatorWord
) -> Control:
    """Let instances of POOL for TIER cost at most AMOUNT an hour; without it, any amount."""

    def changed(now: Control) -> Control:
        if amount is None:
            return now.unlimited(tier)
        return now.limited(Quota(tier=tier, budget=amount))

    return publish(settings, pool, word, changed)


@command.command()
@click.argument("pool")
@click.argument("service")
@click.option("--min", "least", type=click.IntRange(0, MOST_INSTANCES), default=0, show_envvar=True,
              show_default=True, help="Instances to have, as far as there is room.")  # fmt: skip
@click.option("--max", "most", type=click.IntRange(0, MOST_INSTANCES), show_envvar=True,
              help="Instances to have at most.  [default: what pays]")  # fmt: skip
@click.option("--from", "begins", type=MinuteOfDay(), default=0, show_envvar=True,
              help="Time of day, UTC.  [default: 00:00]")  # fmt: skip
@click.option("--until", "ends", type=MinuteOfDay(), default=DAY_MINUTES, show_envvar=True,
              help="The same; before --from it is the next day.  [default: 24:00]")  # fmt: skip
@click.option("--day", "days", type=click.Choice(DAYS), multiple=True, show_envvar=True,
              help="On which it begins; may be given again.  [default: every day]")  # fmt: skip
@word_options
@pass_settings
def pin(
    settings: Settings, /, pool: str, service: str, word: OperatorWord, **given: object
) -> Control:
    """Bound the number of instances of SERVICE in POOL, at certain times.

    It takes the place of a pin at the same times; of several that hold, each bounds.
    """
    added = pin_of(service, **given)
    return publish(settings, pool, word, lambda now: now.pinned(added))


@command.command()
@click.argument("pool")
@click.argument("service")
@word_options
@pass_settings
def unpin(settings: Settings, pool: str, service: str, word: OperatorWord) -> Control:
    """Remove all pins of SERVICE in POOL."""
    return publish(settings, pool, word, lambda now: now.unpinned(service))


def pin_of(service: str, **given: object) -> Pin:
    """A pin of what the options say; UsageError when it can never hold."""
    least, most, days = given["least"], given["most"], given["days"]
    assert isinstance(least, int)
    assert isinstance(most, int | None)
    assert isinstance(days, tuple)
    if most is not None and least > most:
        raise click.UsageError(f"--min {least} is more than --max {most}")
    if not least and most is None:
        raise click.UsageError("give --min, --max or both")
    return Pin(
        service=service,
        least=least,
        most=most,
        days=tuple(sorted(DAYS.index(day) + 1 for day in days)),
        from_minute=int(str(given["begins"])),
        until_minute=int(str(given["ends"])),
    )
