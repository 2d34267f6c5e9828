"""`foremesh control` of a trial: begin it, show the scores of champion and challenger, end it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from streams.cli import pass_settings
from streams.cli.amounts import AmountParam
from streams.cli.control_record import word_options
from streams.cli.output import json_option, tell
from streams.pipeline.last_values import last_values
from streams.pipeline.operator_word import OperatorWord, in_force, publish
from streams.records.control import STANDARD, Control, Variant
from streams.records.trials import Score, Trial
from streams.report.tables import iso_time
from streams.report.text_table import NAME, NUMBER, TextTable
from streams.settings import Settings

__all__ = [
    "as_json",
    "challenge",
    "challenged",
    "promote",
    "promoted",
    "tables",
    "trial",
    "withdraw",
]


@click.command()
@click.argument("pool")
@click.argument("name")
@click.option("--price", type=AmountParam(min=0, min_open=True), default=STANDARD.price,
              show_default=True, show_envvar=True,
              help="Multiplier on the price of warm time: above 1, less is kept warm.")  # fmt: skip
@click.option("--slack", type=AmountParam(0, 1), default=STANDARD.slack,
              show_default=True, show_envvar=True,
              help="Fraction by which an idle instance may be worth less than it costs.")  # fmt: skip
@click.option("--settle", "settle_s", type=AmountParam(min=0),
              default=STANDARD.settle_ms / 1000, show_default=True, show_envvar=True,
              help="Seconds for which it must be worth less before it is released.")  # fmt: skip
@word_options
@pass_settings
def challenge(
    settings: Settings, pool: str, name: str, *, price: float, slack: float, settle_s: float,
    word: OperatorWord,
) -> Control:  # fmt: skip
    """Simulate other parameters in POOL, under this NAME, beside those in force.

    It replaces an earlier challenger; `trial` shows the scores of both.
    """
    variant = Variant(name=name, price=price, slack=slack, settle_ms=round(1000 * settle_s))
    return publish(settings, pool, word, lambda now: challenged(now, variant))


@click.command()
@click.argument("pool")
@click.argument("name")
@word_options
@pass_settings
def promote(settings: Settings, pool: str, name: str, word: OperatorWord) -> Control:
    """Decide on POOL by the parameters of this NAME from now on.

    The previous champion becomes the challenger; promoting it reverts the change.
    """
    return publish(settings, pool, word, lambda now: promoted(now, name))


@click.command()
@click.argument("pool")
@word_options
@pass_settings
def withdraw(settings: Settings, pool: str, word: OperatorWord) -> Control:
    """End the trial of POOL; its champion stays in force."""
    return publish(settings, pool, word, Control.withdrawn)


@click.command()
@click.argument("pool", required=False)
@json_option(
    "a list of pool, since_ms, variants (name, price, slack, settle_ms, in_force, score: requests,"
    " cold_ms, saved_ms, warm_ms, wasted_ms, worth, cost, net)"
)
@pass_settings
def trial(settings: Settings, pool: str | None, output: str) -> None:
    """Show the simulated scores of champion and challenger, in POOL or in all pools."""
    controls = [c for c in in_force(settings).values() if pool in {None, c.pool}]
    trials = _published_trials(settings)
    tell(output, as_json(controls, trials), *tables(controls, trials))


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


def as_json(controls: Iterable[Control], trials: Mapping[str, Trial]) -> list[dict[str, Any]]:
    """The variants of each pool as plain values, the one in force first; no score without a trial."""
    return [
        {
            "pool": control.pool,
            "since_ms": found.since_ms if found else None,
            "variants": [
                {**asdict(variant), "in_force": i == 0, "score": _score_as_json(found, i)}
                for i, variant in enumerate(_variants(control))
            ],
        }
        for control in controls
        for found in [_of(control, trials)]
    ]


def tables(controls: Iterable[Control], trials: Mapping[str, Trial]) -> Iterator[TextTable]:
    """For each pool the parameters of its variants, and what they scored."""
    controls = list(controls)
    if not controls:
        yield TextTable(columns={}, rows=[], legend="", empty="No pool has a trial.")
    for control in controls:
        yield _parameters(control)
        if found := _of(control, trials):
            yield _scores(control, found)


def _parameters(control: Control) -> TextTable:
    return TextTable(
        title=f"Pool {control.pool}: what decides",
        columns={"variant": NAME, "price x": NUMBER, "slack": NUMBER, "settle s": NUMBER},
        rows=[
            (_role(v, i), f"{v.price:g}", f"{v.slack:g}", f"{v.settle_ms / 1000:g}")
            for i, v in enumerate(_variants(control))
        ],
        legend="Above 1 x the price less is kept warm; an idle instance goes once it was worth"
        " less than its cost, by more than the slack, for the time to settle.",
    )


def _scores(control: Control, found: Trial) -> TextTable:
    heads = ("requests", "saved s", "waited s", "wasted s", "worth", "cost", "net")
    return TextTable(
        title=f"Pool {control.pool}: simulated since {iso_time(found.since_ms)}",
        columns={"variant": NAME, **dict.fromkeys(heads, NUMBER)},
        rows=[
            (_role(variant, i), *_figures(score))
            for i, (variant, score) in enumerate(zip(_variants(control), found.scores, strict=True))
        ],
        legend=_conclusion(found),
    )


def _conclusion(found: Trial) -> str:
    """Which variant is ahead, and how it is taken."""
    first, *others = found.scores
    best = max(others, key=lambda score: score.net, default=first)
    if best.net <= first.net:
        return f"{first.variant} stays ahead; net is worth less cost, in the catalogue's unit."
    return (
        f"{best.variant} is ahead by a net {best.net - first.net:.4g}, worth less cost in the"
        f" catalogue's unit: `foremesh control promote {found.pool} {best.variant}` takes it."
    )


def _variants(control: Control) -> tuple[Variant, ...]:
    return control.variants or (control.champion,)


def _of(control: Control, trials: Mapping[str, Trial]) -> Trial | None:
    """The trial of these variants, if it is the one that was published."""
    found = trials.get(control.pool)
    names = tuple(variant.name for variant in _variants(control))
    valid = found is not None and tuple(score.variant for score in found.scores) == names
    return found if valid else None


def _role(variant: Variant, i: int) -> str:
    return variant.name if i else f"{variant.name} (in force)"


def _score_as_json(found: Trial | None, i: int) -> dict[str, Any] | None:
    return None if found is None else asdict(found.scores[i]) | {"net": found.scores[i].net}


def _figures(score: Score) -> tuple[str, ...]:
    return (
        f"{score.requests:,}",
        *(f"{ms / 1000:,.1f}" for ms in (score.saved_ms, score.cold_ms, score.wasted_ms)),
        *(f"{amount:.4g}" for amount in (score.worth, score.cost, score.net)),
    )


def _published_trials(settings: Settings) -> dict[str, Trial]:
    """The scores of each pool as last published."""
    return {found.pool: found for found in last_values(settings, "trials", Trial).values()}
