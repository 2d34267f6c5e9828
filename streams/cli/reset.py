"""`foremesh reset`: have pools begin anew."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from streams.cli import pass_settings
from streams.cli.console import echo
from streams.cli.output import json_option, tell
from streams.flow.components import SAID
from streams.pipeline.reset import ResetPlan, carry_out, plan
from streams.report.text_table import NAME, NUMBER, WHOLE, TextTable
from streams.settings import Settings

__all__ = ["command", "table_of"]

DONE = (
    "Cleared. Start the workers and the sink; start gateways, mesh, keda and dashboards anew, which"
    " remember instances."
)


@click.command()
@click.argument("pools", nargs=-1, required=True, metavar="POOL…")
@click.option("--dry-run", is_flag=True, show_envvar=True, help="Show what it would clear.")
@click.option("--yes", is_flag=True, show_envvar=True, help="Do not ask.")
@json_option(
    "pools, cleared (whether it was done), topics (records by name), groups (a list), tables (rows"
    " by name), running (hosts by group), kept (a list)"
)
@click.pass_context
@pass_settings
def command(
    settings: Settings,
    ctx: click.Context,
    *,
    pools: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    """Have POOLs begin anew: nothing asked, nothing learnt, nothing reported.

    It empties the topics, the state and positions of all stages, and the tables in PostgreSQL. It
    keeps the catalogue, and what operators have said (`foremesh control`) with its history; topics
    keep their partitions and settings. Pools on the same topics and in the same database share
    what is learnt of users, so all of them are named, or none is reset.

    End workers, sinks and provisioners first: it refuses while one runs, and says which. Gateways
    and `mesh log` cannot be seen: end them too, or what they write meanwhile may stay. Interrupted,
    it is finished by the same command; workers do not start before.
    """
    if dry_run:
        wanted = plan(settings, pools)
        _tell(output, wanted, cleared=False)
        wanted.check()
        return
    if not yes:
        _ask(ctx, output, plan(settings, pools))
    _tell(output, carry_out(settings, pools), cleared=True)


def _ask(ctx: click.Context, output: str, wanted: ResetPlan) -> None:
    """Show what would be cleared, if it can be; end if the operator does not want that."""
    wanted.check()
    if output == "json" or not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: say --yes, or --dry-run to look.")
    tell(output, None, table_of(wanted))
    if not click.confirm("Clear all this?", err=True):
        echo("Nothing was changed.", err=True)
        ctx.exit(1)


def _tell(output: str, wanted: ResetPlan, *, cleared: bool) -> None:
    facts = {**asdict(wanted), "cleared": cleared, "kept": [*SAID, "controls"]}
    tell(output, facts, DONE if cleared else table_of(wanted))


def table_of(wanted: ResetPlan) -> TextTable:
    """What a reset would clear, for people: what is empty already is left out."""
    topics = [("topic", name, count) for name, count in wanted.topics.items()]
    tables = [("table", name, count) for name, count in wanted.tables.items()]
    groups = [("positions of", name, "") for name in wanted.groups]
    return TextTable(
        columns={"": WHOLE, "cleared": NAME, "holds": NUMBER},
        rows=[
            *((what, name, f"{count:,}") for what, name, count in topics + tables if count),
            *groups,
        ],
        legend=(
            f"{sum(wanted.topics.values()):,} records with marks of transactions, and"
            f" {sum(wanted.tables.values()):,} rows, of {', '.join(wanted.pools)}. The topics"
            f" {' and '.join(SAID)} and the table controls stay."
        ),
        empty=f"There is nothing to clear of {', '.join(wanted.pools)}.",
    )
