"""`foremesh control`: operator overrides of a pool, in effect within a second."""

from __future__ import annotations

import re
from dataclasses import replace

import click
from rich.table import Table
from rich.text import Text

from streams.cli import pass_settings, trial
from streams.cli.console import PrintableConsole
from streams.cli.control_record import OperatorWord, change, in_force, word_options
from streams.records.control import DAY_MINUTES, DAYS, Control, Mode, Pin, Quota
from streams.settings import Settings

__all__ = ["command"]


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


@click.group()
def command() -> None:
    """Set what the allocator may do with a pool, at once and until changed."""


for part in (trial.challenge, trial.trial, trial.promote, trial.withdraw):
    command.add_command(part)


@command.command()
@pass_settings
def show(settings: Settings) -> None:
    """Show what is in force; a pool not named is on, without limits."""
    table = Table("pool", "mode", "budget/h", "pins", "quotas", "by", "who", "reason")
    for control in in_force(settings).values():
        mode = f"{control.mode}, paused" if control.paused else control.mode.value
        budget = "" if control.budget is None else f"{control.budget:g}"
        pins = "\n".join(pin.words for pin in control.pins)
        quotas = "\n".join(f"{quota.tier}: {quota.budget:g}/h" for quota in control.quotas)
        by = " before ".join(v.name for v in control.variants) or control.champion.name
        cells = (control.pool, mode, budget, pins, quotas, by, control.by, control.reason)
        table.add_row(*map(Text, cells))
    PrintableConsole().print(table)


@command.command()
@click.argument("pool")
@click.argument("mode", type=click.Choice([mode.value for mode in Mode]))
@word_options
@pass_settings
def mode(settings: Settings, pool: str, mode: str, word: OperatorWord) -> None:
    """Set a POOL's MODE.

    on: decide and act. shadow: decide and record, do nothing. advise: predictions only,
    instances stay as they are. off: give back what is idle, then nothing.
    """
    change(settings, pool, word, lambda now: replace(now, mode=Mode(mode)))


@command.command()
@click.argument("pool")
@word_options
@pass_settings
def pause(settings: Settings, pool: str, word: OperatorWord) -> None:
    """Decide nothing for POOL until resumed; what there is stays."""
    change(settings, pool, word, lambda now: replace(now, paused=True))


@command.command()
@click.argument("pool")
@word_options
@pass_settings
def resume(settings: Settings, pool: str, word: OperatorWord) -> None:
    """Decide for POOL again."""
    change(settings, pool, word, lambda now: replace(now, paused=False))


@command.command()
@click.argument("pool")
@click.argument("amount", type=click.FloatRange(min=0), required=False)
@word_options
@pass_settings
def budget(settings: Settings, pool: str, amount: float | None, word: OperatorWord) -> None:
    """Let warm instances of POOL cost at most AMOUNT an hour; without it, the catalogue's."""
    change(settings, pool, word, lambda now: replace(now, budget=amount))


@command.command()
@click.argument("pool")
@click.argument("tier")
@click.argument("amount", type=click.FloatRange(min=0), required=False)
@word_options
@pass_settings
def quota(
    settings: Settings, pool: str, tier: str, amount: float | None, word: OperatorWord
) -> None:
    """Let instances of POOL for TIER cost at most AMOUNT an hour; without it, any amount."""

    def changed(now: Control) -> Control:
        others = tuple(q for q in now.quotas if q.tier != tier)
        added = () if amount is None else (Quota(tier=tier, budget=amount),)
        return replace(now, quotas=others + added)

    change(settings, pool, word, changed)


@command.command()
@click.argument("pool")
@click.argument("service")
@click.option("--min", "least", type=click.IntRange(min=0), default=0, show_envvar=True,
              show_default=True, help="Instances to have, as far as there is room.")  # fmt: skip
@click.option("--max", "most", type=click.IntRange(min=0), show_envvar=True,
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
) -> None:
    """Bound the number of instances of SERVICE in POOL, at certain times."""
    added = pin_of(service, **given)
    change(settings, pool, word, lambda now: now.pinned(added))


@command.command()
@click.argument("pool")
@click.argument("service")
@word_options
@pass_settings
def unpin(settings: Settings, pool: str, service: str, word: OperatorWord) -> None:
    """Remove all pins of SERVICE in POOL."""
    change(settings, pool, word, lambda now: now.unpinned(service))


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
