"""`foremesh db`: migrate the database, list pending migrations, delete old rows."""

from __future__ import annotations

from collections.abc import Mapping

import click

from streams.adapters.postgres.maintenance import migrate, newer, pending, prune
from streams.cli import pass_settings
from streams.cli.command_group import CommandGroup
from streams.cli.durations import DurationParam
from streams.cli.output import json_option, tell
from streams.report.text_table import NAME, NUMBER, TextTable
from streams.settings import Settings

__all__ = ["command", "table_of"]


@click.group(cls=CommandGroup)
def command() -> None:
    """Migrate the database, list pending migrations, delete old rows."""


@command.command("migrate")
@json_option("applied (a list of migrations)")
@pass_settings
def migrate_command(settings: Settings, output: str) -> None:
    """Apply all pending migrations, or none when one fails."""
    applied = migrate(settings.postgres)
    said = [f"applied {name}" for name in applied] or ["nothing to do: the database is current"]
    tell(output, {"applied": applied}, *said)


@command.command("status")
@json_option("pending, newer (lists of migrations)")
@click.pass_context
@pass_settings
def status_command(settings: Settings, ctx: click.Context, output: str) -> None:
    """List the migrations that are pending; exit code 1 when there are any."""
    missing, unknown = pending(settings.postgres), newer(settings.postgres)
    said = [
        *(f"pending {name}" for name in missing),
        *(f"applied {name}, by a later release that is installed elsewhere" for name in unknown),
        "run `foremesh db migrate`" if missing else "the database is current",
    ]
    tell(output, {"pending": missing, "newer": unknown}, *said)
    ctx.exit(1 if missing else 0)


@command.command("prune")
@click.option(
    "--keep",
    type=DurationParam(),
    required=True,
    show_envvar=True,
    help="Age of the oldest rows to keep, counted from the newest prediction: 12h, 30d.",
)
@click.option("--dry-run", is_flag=True, show_envvar=True, help="Delete nothing; say how much.")
@json_option("deleted_rows (a number by table)")
@pass_settings
def prune_command(settings: Settings, keep: int, output: str, *, dry_run: bool) -> None:
    """Delete rows that are older; records on Kafka stay, and the table controls."""
    deleted = prune(settings.postgres, keep, dry_run=dry_run)
    tell(output, {"deleted_rows": deleted}, table_of(deleted, dry_run=dry_run))


def table_of(deleted: Mapping[str, int], *, dry_run: bool = False) -> TextTable:
    """How many rows of each table were deleted, for people."""
    done = "would be deleted" if dry_run else "deleted"
    return TextTable(
        columns={"table": NAME, f"rows {done}": NUMBER},
        rows=[(table, f"{rows:,}") for table, rows in deleted.items()],
        legend=f"{sum(deleted.values()):,} rows {done}; records on Kafka stay.",
    )
