"""`foremesh report`: hits, misses, latency, time saved and wasted, from PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from streams.adapters.postgres.queries import read_history
from streams.cli import pass_settings
from streams.cli.durations import DurationParam
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option(
    "--since",
    type=DurationParam(),
    show_envvar=True,
    help="How far back to report, counted from the newest outcome: 12h, 30d.",
)
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    show_envvar=True,
    help="Tables for people, or JSON for programs.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="Draw hit rate and latency into this file, .png or .svg.",
)
@pass_settings
def command(settings: Settings, since: int | None, output: str, figure: Path | None) -> None:
    """Report hits and misses, latency, time saved and instance-seconds wasted."""
    from streams.report.summary import summarise  # noqa: PLC0415  # keep --help instant
    from streams.report.tables import as_json, tables  # noqa: PLC0415

    history = read_history(settings.postgres, since)
    summary = summarise(history.outcomes, history.instances, history.commands)
    if figure is not None:
        from streams.report.figure import draw  # noqa: PLC0415  # matplotlib loads slowly

        draw(summary, figure)
    if output == "json":
        click.echo(json.dumps(as_json(summary), indent=2))
    else:
        Console().print(*tables(summary), sep="\n")
