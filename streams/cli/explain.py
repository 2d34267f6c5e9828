"""`foremesh explain`: why an instance was started, queued, released, or was not there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from streams.adapters.postgres.explanation import DecisionGrounds, grounds_at, grounds_of
from streams.cli import pass_settings
from streams.cli.console import PrintableConsole, echo, output_option
from streams.cli.moments import MomentParam
from streams.report.explanation import decided, what_would_change
from streams.report.tables import iso_time
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.argument("command_id", required=False)
@click.option("--service", show_envvar=True, help="A constituent, in place of a command.")
@click.option("--at", type=MomentParam(), show_envvar=True, help="When.  [default: now]")
@click.option("--pool", show_envvar=True, help="Of this pool only.")
@click.option("--challenger", default="", show_envvar=True, help="What this one would have done.")
@output_option("table", "json", "For people or for programs.")
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
        found = [one] if (one := grounds_of(settings.postgres, command_id)) else []
    else:
        found = grounds_at(settings.postgres, service or "", at, pool, challenger)
    if not found:
        echo(_nothing(command_id, service), err=True)
        sys.exit(1)
    if output == "json":
        echo(json.dumps([_as_json(one) for one in found], indent=2, ensure_ascii=False))
        return
    for one in found:
        _show(one)


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


def _show(grounds: DecisionGrounds) -> None:
    verdict, console = grounds.verdict, PrintableConsole()
    console.print(
        Text(f"{iso_time(verdict.at_ms)}, pool {verdict.pool}: {decided(verdict)}", "bold")
    )
    for line in _lines(grounds):
        console.print(Text(line))
    for table in _tables(grounds):
        console.print(table)


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
    for sentence in what_would_change(verdict):
        yield f"would have changed it: {sentence}"


def _tables(grounds: DecisionGrounds) -> Iterator[Table]:
    verdict = grounds.verdict
    expected = Table("composite", "tier", "expected requests", title="Expected to need it")
    for e in verdict.expected:
        expected.add_row(Text(e.service), Text(e.tier), f"{e.requests:.3g}")
    yield expected
    users = Table("user", "tier", "composite", "within %", "last seen", title="Users behind it")
    for u in grounds.users:
        names = (Text(u.user), Text(u.tier), Text(u.service))
        users.add_row(*names, f"{100 * u.within:.2f}", iso_time(u.made_ms))
    yield users
    others = Table("alternative", "value", "cost", title="What else could have been done")
    for a in verdict.alternatives:
        others.add_row(Text(a.what), f"{a.value:.3g}", f"{a.cost:.3g}")
    yield others
    if grounds.realised:
        yield _realised(grounds)


def _realised(grounds: DecisionGrounds) -> Table:
    table = Table("", "expected", "realised", title="What came of it")
    for r in grounds.realised:
        used = "never" if r.realised_uses is None else "in time" if r.realised_uses else "later"
        table.add_row(Text(r.instance_id), "", "")
        table.add_row("used", f"{r.expected_uses:.3g}", used)
        table.add_row("saved, s", f"{r.expected_saved_s:.3g}", f"{r.realised_saved_s:.3g}")
        table.add_row("wasted, s", "", f"{r.wasted_s:.3g}")
        table.add_row("cost", f"{r.expected_cost:.3g}", f"{r.wasted_cost:.3g}")
    return table
