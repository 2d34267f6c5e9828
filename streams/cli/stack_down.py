"""`foremesh down`: stop the local stack and keep its data."""

from __future__ import annotations

from pathlib import Path

import click

from streams.cli import pass_settings
from streams.cli.console import PrintableConsole, echo
from streams.devstack import LocalStack
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Stop the local stack. Its data stay in build/stack: delete that to start afresh."""
    console = PrintableConsole()
    build = Path(settings.build)
    with console.status("stopping Kafka and PostgreSQL"):
        stopped = LocalStack(build).stop()
    echo(_summary(stopped, build / "stack"))


def _summary(stopped: list[str], folder: Path) -> str:
    if not stopped:
        return "Nothing of the local stack was running."
    whose = "their" if len(stopped) > 1 else "its"
    return f"Stopped {' and '.join(stopped)}; {whose} data stay in {folder}."
