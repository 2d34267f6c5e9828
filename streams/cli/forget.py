"""`foremesh forget`: delete what is kept of a user."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from streams.cli import pass_settings
from streams.cli.console import echo
from streams.cli.output import json_option, tell
from streams.pipeline.forget import ForgottenUser, carry_out, plan
from streams.report.text_table import NAME, NUMBER, WHOLE, TextTable
from streams.settings import Settings

__all__ = ["command", "table_of"]

DONE = (
    "Forgotten. Start the workers. The topics requests, outcomes, feedback and dead-letters have"
    " records of this user until their retention ends."
)


@click.command()
@click.argument("user")
@click.option("--dry-run", is_flag=True, show_envvar=True, help="Show what it would delete.")
@click.option("--yes", is_flag=True, show_envvar=True, help="Do not ask.")
@json_option("user, forgotten (whether it was done), state (rows by stage), tables (rows by name)")
@click.pass_context
@pass_settings
def command(
    settings: Settings, ctx: click.Context, *, user: str, dry_run: bool, yes: bool, output: str
) -> None:
    """Delete what is kept of USER: what was learnt, the vector, and the rows in PostgreSQL.

    End the workers first: it refuses while one of them has users in its memory. What USER has asked
    for since the workers last ran is learnt when they run again. Counts of all users together stay;
    they name nobody. Records on topics that are not compacted go by their retention alone.
    """
    if dry_run:
        _tell(output, plan(settings, user), forgotten=False)
        return
    if not yes:
        _ask(ctx, output, plan(settings, user))
    _tell(output, carry_out(settings, user), forgotten=True)


def _ask(ctx: click.Context, output: str, found: ForgottenUser) -> None:
    """Show what would be deleted; end if the operator does not want that."""
    if output == "json" or not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: say --yes, or --dry-run to look.")
    tell(output, None, table_of(found))
    if not click.confirm("Delete all this?", err=True):
        echo("Nothing was changed.", err=True)
        ctx.exit(1)


def _tell(output: str, found: ForgottenUser, *, forgotten: bool) -> None:
    done = (DONE,) if forgotten else ()
    tell(output, {**asdict(found), "forgotten": forgotten}, table_of(found), *done)


def table_of(found: ForgottenUser) -> TextTable:
    """What is kept of a user, for people: where nothing is, is left out."""
    state = [("state of", stage, count) for stage, count in found.state.items()]
    tables = [("table", name, count) for name, count in found.tables.items()]
    return TextTable(
        columns={"": WHOLE, "kept": NAME, "rows": NUMBER},
        rows=[(what, name, f"{count:,}") for what, name, count in state + tables if count],
        legend=f"Kept of user {found.user!r}.",
        empty=f"Nothing is kept of user {found.user!r}.",
    )
