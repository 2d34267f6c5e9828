"""`foremesh db`: migrate the database, list pending migrations, delete old rows."""

from __future__ import annotations

import sys

import click

from streams.adapters.postgres.maintenance import migrate, pending, prune
from streams.cli import pass_settings
from streams.cli.console import echo
from streams.cli.durations import DurationParam
from streams.settings import Settings

__all__ = ["command"]


@click.group
def command() -> None:
    """Migrate the database, list pending migrations, delete old rows."""


@command.command("migrate")
@pass_settings
def migrate_command(settings: Settings) -> None:
    """Apply all pending migrations, or none when one fails."""
    applied = migrate(settings.postgres)
    for name in applied:
        echo(f"applied {name}")
    if not applied:
        echo("nothing to do: the database is current")


@command.command("status")
@pass_settings
def status_command(settings: Settings) -> None:
    """List the migrations that are pending; exit code 1 when there are any."""
    missing = pending(settings.postgres)
    for name in missing:
        echo(f"pending {name}")
    if missing:
        echo("run `foremesh db migrate`")
        sys.exit(1)
    echo("the database is current")


@command.command("prune")
@click.option(
    "--keep",
    type=DurationParam(),
    required=True,
    show_envvar=True,
    help="Age of the oldest rows to keep, counted from the newest prediction: 12h, 30d.",
)
@pass_settings
def prune_command(settings: Settings, keep: int) -> None:
    """Delete rows that are older; records on Kafka stay."""
    for table, rows in prune(settings.postgres, keep).items():
        echo(f"{table}: {rows:,} rows deleted")
