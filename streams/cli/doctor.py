"""`foremesh doctor`: checks of everything that foremesh needs, each failure with its fix."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import click
from rich.table import Table

from streams.adapters.avro.codec import schema_problems
from streams.adapters.kafka.clients import connect
from streams.adapters.kafka.lag import GroupLag, group_lags
from streams.adapters.kafka.topics import check_topics
from streams.adapters.postgres.maintenance import pending
from streams.cli import pass_settings
from streams.cli.console import PrintableConsole, echo
from streams.errors import ForemeshError
from streams.settings import Settings

__all__ = ["DoctorFinding", "command", "examine"]

BROKER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """What one check found."""

    check: str
    ok: bool
    says: str  # a sentence, with the fix when not ok


@click.command()
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    show_envvar=True,
    help="What to print.",
)
@click.pass_context
@pass_settings
def command(settings: Settings, ctx: click.Context, output: str) -> None:
    """Check broker, topics, schemas, database and lag; exit code 1 when something is wrong."""
    findings = list(examine(settings))
    if output == "json":
        echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        PrintableConsole().print(_table(findings))
    ctx.exit(0 if all(finding.ok for finding in findings) else 1)


def examine(settings: Settings) -> Iterator[DoctorFinding]:
    """Every check; those that need the broker are left out when it does not answer."""
    broker = list(_check("broker", lambda: _broker(settings), f"answers at {settings.kafka}"))
    yield from broker
    if broker[0].ok:
        yield from _check("topics", lambda: check_topics(settings), "as declared")
    yield from _check("schemas", _schemas, "every version reads every other")
    yield from _check("database", lambda: _database(settings), "has every migration")
    if broker[0].ok:
        yield from _lag(settings)


def _check(name: str, problems: Callable[[], list[str]], well: str) -> Iterator[DoctorFinding]:
    try:
        found = problems()
    except ForemeshError as error:
        found = [str(error)]
    yield from (DoctorFinding(check=name, ok=False, says=problem) for problem in found)
    if not found:
        yield DoctorFinding(check=name, ok=True, says=well)


def _broker(settings: Settings) -> list[str]:
    connect(settings, BROKER_S)
    return []


def _schemas() -> list[str]:
    fix = "add a new version under schemas/ that keeps to FULL_TRANSITIVE"
    return [f"{problem}: {fix}" for problem in schema_problems()]


def _database(settings: Settings) -> list[str]:
    missing = pending(settings.postgres)
    return [f"lacks {', '.join(missing)}: run `foremesh db migrate`"] if missing else []


def _lag(settings: Settings) -> Iterator[DoctorFinding]:
    try:
        lags = group_lags(settings)
    except ForemeshError as error:
        yield DoctorFinding(check="lag", ok=False, says=str(error))
    else:
        yield from (_finding_of(lag, settings) for lag in lags)


def _finding_of(lag: GroupLag, settings: Settings) -> DoctorFinding:
    """A group fails when records wait and it has no members; lag alone is no failure.

    A worker that runs the whole flow in event time is in none of the stages' groups.
    """
    state = f"{lag.members} members, {lag.records} records behind"
    alone = settings.clock == "event" and lag.stage != "sink"
    if lag.members or not lag.records or lag.optional or alone:
        return DoctorFinding(check=f"lag of {lag.stage}", ok=True, says=state)
    run = "foremesh sink" if lag.stage == "sink" else f"foremesh worker {lag.stage}"
    return DoctorFinding(check=f"lag of {lag.stage}", ok=False, says=f"{state}: run `{run}`")


def _table(findings: list[DoctorFinding]) -> Table:
    table = Table("", "check", "finding")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]wrong[/]"
        table.add_row(mark, finding.check, finding.says)
    return table
