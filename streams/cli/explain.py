"""`foremesh explain`: why an instance was started, queued, released, or was not there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.text import Text

from streams.adapters.postgres.explanation import (
    DecisionGrounds,
    RealisedValue,
    grounds_at,
    grounds_of,
)
from streams.cli import pass_settings
from streams.cli.console import echo
from streams.cli.given import refuse_given
from streams.cli.moments import MomentParam
from streams.cli.output import json_option, tell
from streams.report.explanation import decided, what_would_change
from streams.report.tables import iso_time
from streams.report.text_table import NAME, NUMBER, WHOLE, TextTable
from streams.settings import Settings

__all__ = ["command", "explained"]

OF_A_COMMAND = ("command_id", "output")


@click.command()
@click.argument("command_id", required=False)
@click.option("--service", show_envvar=True, help="A constituent, in place of a command.")
@click.option("--at", type=MomentParam(), show_envvar=True, help="When.  [default: now]")
@click.option("--pool", show_envvar=True, help="Of this pool only.")
@click.option("--challenger", default="", show_envvar=True, help="What this one would have done.")
@json_option(
    "a list of verdict, reason, warm, users, realised, failures, decided, what_would_change"
)
@pass_settings
def command(
    settings: Settings,
    command_id: str | None,
    *,
    service: str | None,
    at: int | None,
    pool: str | None,
    challenger: str,
    output: str,
) -> None:
    """Explain the command COMMAND_ID, or why there were instances of a constituent, or none.

    What `foremesh sink` has written to PostgreSQL is what it knows.
    """
    if (command_id is None) == (service is None):
        raise click.UsageError("give either COMMAND_ID or --service")
    if command_id is not None:
        refuse_given("COMMAND_ID, of one decision", lambda name: name in OF_A_COMMAND)
        found = [one] if (one := grounds_of(settings.postgres, command_id)) else []
    else:
        found = grounds_at(settings.postgres, service or "", at, pool, challenger)
    if not found:
        echo(_nothing(command_id, service), err=True)
        sys.exit(1)
    shown = [part for one in found for part in explained(one)]
    tell(output, [_as_json(one) for one in found], *shown)


def _nothing(command_id: str | None, service: str | None) -> str:
    if command_id is not None:
        return f"no decision is known that led to {command_id!r}"
    return (
        f"no decision about {service!r} is known by then: nobody was expected to need it, its"
        " pool was paused or advising, or `foremesh sink` has not run since"
    )


def _as_json(grounds: DecisionGrounds) -> dict[str, object]:
    return {
        **asdict(grounds),
        "decided": decided(grounds.verdict),
        "what_would_change": list(what_would_change(grounds.verdict)),
    }


def explained(grounds: DecisionGrounds) -> Iterator[Text | TextTable]:
    """A decision for people: sentences, then the tables of what it was based on."""
    verdict = grounds.verdict
    yield Text(f"{iso_time(verdict.at_ms)}, pool {verdict.pool}: {decided(verdict)}", "bold")
    yield from map(Text, _lines(grounds))
    yield Text()
    yield from _tables(grounds)


def _lines(grounds: DecisionGrounds) -> Iterator[str]:
    verdict = grounds.verdict
    if grounds.reason:
        yield f"reason: {grounds.reason}"
    yield (
        f"instance {verdict.instance}: used within {verdict.horizon_ms / 1000:g} s with"
        f" probability {verdict.chance:.3g}, starts in {verdict.warm_up_ms / 1000:.3g} s, worth"
        f" {verdict.value:.3g}, costs {verdict.cost:.3g}; what decided: {verdict.bound}"
    )
    yield f"there or under way: {verdict.have}; warm at the time asked for: {grounds.warm}"
    for one in grounds.failures:
        yield f"{iso_time(one.gone_ms)}: {one.instance_id} {one.reason}"
    for sentence in what_would_change(verdict):
        yield f"would have changed it: {sentence}"


def _tables(grounds: DecisionGrounds) -> Iterator[TextTable]:
    verdict = grounds.verdict
    yield TextTable(
        title="Expected to need it",
        columns={"composite": NAME, "tier": NAME, "requests": NUMBER},
        rows=[(e.service, e.tier, f"{e.requests:.3g}") for e in verdict.expected],
        legend=f"Requests that were expected within {verdict.horizon_ms / 1000:g} s.",
        empty="Nobody.",
    )
    yield TextTable(
        title="Users behind it",
        columns={
            "user": NAME,
            "tier": NAME,
            "composite": NAME,
            "within %": NUMBER,
            "last seen": WHOLE,
        },
        rows=[
            (u.user, u.tier, u.service, f"{100 * u.within:.2f}", iso_time(u.made_ms))
            for u in grounds.users
        ],
        legend="Within: the chance, at their last request, that they ask for it in that time.",
        empty="No user that is known.",
    )
    yield TextTable(
        title="What else could have been done",
        columns={"alternative": NAME, "value": NUMBER, "cost": NUMBER},
        rows=[(a.what, f"{a.value:.3g}", f"{a.cost:.3g}") for a in verdict.alternatives],
        legend="Value and cost in the unit of the catalogue's prices.",
        empty="Nothing.",
    )
    yield from map(_realised, grounds.realised)


def _realised(r: RealisedValue) -> TextTable:
    used = "never" if r.realised_uses is None else "in time" if r.realised_uses else "later"
    return TextTable(
        title=f"What came of instance {r.instance_id}",
        columns={"": NAME, "expected": NUMBER, "realised": NUMBER},
        rows=[
            ("saved, s", f"{r.expected_saved_s:.3g}", f"{r.realised_saved_s:.3g}"),
            ("wasted, s", "", f"{r.wasted_s:.3g}"),
            ("cost", f"{r.expected_cost:.3g}", f"{r.wasted_cost:.3g}"),
        ],
        legend=f"Expected to be used with probability {r.expected_uses:.3g}; it was used: {used}.",
    )
