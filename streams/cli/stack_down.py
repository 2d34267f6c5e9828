"""`foremesh down`: stop the local stack and keep its data."""

from __future__ import annotations

from pathlib import Path

import click

from streams.cli import pass_settings
from streams.cli.console import PrintableConsole
from streams.cli.output import json_option, tell
from streams.devstack import LocalStack
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@json_option("stopped (a list of servers), data (their folder)")
@pass_settings
def command(settings: Settings, output: str) -> None:
    """Stop the local stack. Its data stay in build/stack: delete that to start afresh."""
    build = Path(settings.build)
    with PrintableConsole(stderr=True).status("stopping Kafka and PostgreSQL"):
        stopped = LocalStack(build).stop()
    folder = (build / "stack").absolute()
    tell(output, {"stopped": stopped, "data": str(folder)}, summary_of(stopped, folder))


def summary_of(stopped: list[str], folder: Path) -> str:
    """What was stopped; a stack of another directory is not found from here."""
    if not stopped:
        return (
            f"Nothing of the stack in {folder} was running. One that was started in another"
            " directory is stopped there, or with FOREMESH_BUILD set to that directory's build."
        )
    whose = "their" if len(stopped) > 1 else "its"
    return f"Stopped {' and '.join(stopped)}; {whose} data stay in {folder}."
