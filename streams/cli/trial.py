"""`foremesh control` of a trial: begin it, show the scores of champion and challenger, end it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click
from rich.table import Table
from rich.text import Text

from streams.cli import pass_settings
from streams.cli.console import PrintableConsole
from streams.cli.control_record import OperatorWord, change, in_force, word_options
from streams.pipeline.last_values import last_values
from streams.records.control import STANDARD, Control, Variant
from streams.records.trials import Trial
from streams.report.tables import iso_time
from streams.settings import Settings

__all__ = ["challenge", "challenged", "promote", "promoted", "trial", "withdraw"]


@click.command()
@click.argument("pool")
@click.argument("name")
@click.option("--price", type=click.FloatRange(min=0, min_open=True), default=STANDARD.price,
              show_default=True, show_envvar=True,
              help="Multiplier on the price of warm time: above 1, less is kept warm.")  # fmt: skip
@click.option("--slack", type=click.FloatRange(0, 1), default=STANDARD.slack,
              show_default=True, show_envvar=True,
              help="Fraction by which an idle instance may be worth less than it costs.")  # fmt: skip
@click.option("--settle", "settle_s", type=click.FloatRange(min=0),
              default=STANDARD.settle_ms / 1000, show_default=True, show_envvar=True,
              help="Seconds for which it must be worth less before it is released.")  # fmt: skip
@word_options
@pass_settings
def challenge(
    settings: Settings, pool: str, name: str, *, price: float, slack: float, settle_s: float,
    word: OperatorWord,
) -> None:  # fmt: skip
    """Simulate other parameters in POOL, under this NAME, beside those in force.

    It replaces an earlier challenger; `trial` shows the scores of both.
    """
    variant = Variant(name=name, price=price, slack=slack, settle_ms=round(1000 * settle_s))
    change(settings, pool, word, lambda now: challenged(now, variant))


@click.command()
@click.argument("pool")
@click.argument("name")
@word_options
@pass_settings
def promote(settings: Settings, pool: str, name: str, word: OperatorWord) -> None:
    """Decide on POOL by the parameters of this NAME from now on.

    The previous champion becomes the challenger; promoting it reverts the change.
    """
    change(settings, pool, word, lambda now: promoted(now, name))


@click.command()
@click.argument("pool")
@word_options
@pass_settings
def withdraw(settings: Settings, pool: str, word: OperatorWord) -> None:
    """End the trial of POOL; its champion stays in force."""
    change(settings, pool, word, Control.withdrawn)


@click.command()
@click.argument("pool", required=False)
@pass_settings
def trial(settings: Settings, pool: str | None) -> None:
    """Show the simulated scores of champion and challenger, in POOL or in all pools."""
    table = Table("pool", "variant", "price", "slack", "settle s", "since")
    for name in ("requests", "saved s", "waited s", "wasted s", "worth", "cost", "net"):
        table.add_column(name, justify="right")
    controls = [c for c in in_force(settings).values() if pool in {None, c.pool}]
    for cells in rows(controls, _published_trials(settings)):
        table.add_row(*map(Text, cells))
    PrintableConsole().print(table)


def challenged(now: Control, variant: Variant) -> Control:
    """The control with this challenger; UsageError when it has the champion's name."""
    with usage():
        return now.challenged(variant)


def promoted(now: Control, name: str) -> Control:
    """The control with the variant of this name in force; UsageError when there is none."""
    with usage():
        return now.promoted(name)


@contextmanager
def usage() -> Iterator[None]:
    """What cannot be, as a mistake in the use of the command."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def rows(controls: Iterable[Control], trials: dict[str, Trial]) -> Iterator[tuple[str, ...]]:
    """A row for each variant, the champion first; without figures where there is no trial yet."""
    for control in controls:
        variants = control.variants or (control.champion,)
        found = trials.get(control.pool)
        names = tuple(variant.name for variant in variants)
        valid = found is not None and tuple(score.variant for score in found.scores) == names
        for i, variant in enumerate(variants):
            role = variant.name if i else f"{variant.name} (in force)"
            settle = f"{variant.settle_ms / 1000:g}"
            terms = (control.pool, role, f"{variant.price:g}", f"{variant.slack:g}", settle)
            yield (*terms, *(_figures(found, i) if found and valid else ("",) * 8))


def _figures(found: Trial, i: int) -> tuple[str, ...]:
    score = found.scores[i]
    seconds = (score.saved_ms, score.cold_ms, score.wasted_ms)
    return (
        iso_time(found.since_ms),
        f"{score.requests}",
        *(f"{ms / 1000:,.1f}" for ms in seconds),
        *(f"{amount:.4g}" for amount in (score.worth, score.cost, score.net)),
    )


def _published_trials(settings: Settings) -> dict[str, Trial]:
    """The scores of each pool as last published."""
    return {found.pool: found for found in last_values(settings, "trials", Trial).values()}
