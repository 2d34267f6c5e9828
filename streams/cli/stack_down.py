"""`foremesh down`: the local stack ends, its data stay."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from streams.cli import pass_settings
from streams.devstack import LocalStack
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Stop the local stack. Its data stay in build/stack: delete that to start afresh."""
    console = Console()
    with console.status("stopping Kafka and PostgreSQL"):
        LocalStack(Path(settings.build)).stop()
    console.print("Nothing of the local stack runs.")
