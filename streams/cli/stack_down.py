"""`foremesh down`: stop the local stack and keep its data."""

from __future__ import annotations

from pathlib import Path

import click

from streams.cli import pass_settings
from streams.cli.console import PrintableConsole
from streams.cli.output import json_option, tell
from streams.devstack import LocalStack
from streams.devstack.elsewhere import builds_elsewhere
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@json_option(
    "stopped (a list of servers), data (their folder), elsewhere (build folders of other stacks,"
    " where nothing was running here)"
)
@pass_settings
def command(settings: Settings, output: str) -> None:
    """Stop the local stack. Its data stay in build/stack: delete that to start afresh."""
    build = Path(settings.build)
    with PrintableConsole(stderr=True).status("stopping Kafka and PostgreSQL"):
        stopped = LocalStack(build).stop()
    folder = (build / "stack").absolute()
    others = [] if stopped else builds_elsewhere(build)
    facts = {"stopped": stopped, "data": str(folder), "elsewhere": [str(other) for other in others]}
    hints = [f"One runs elsewhere: FOREMESH_BUILD={b} foremesh down stops it." for b in others]
    tell(output, facts, summary_of(stopped, folder), *hints)


def summary_of(stopped: list[str], folder: Path) -> str:
    """What was stopped of the stack in a folder."""
    if not stopped:
        return f"Nothing of the stack in {folder} was running."
    whose = "their" if len(stopped) > 1 else "its"
    return f"Stopped {' and '.join(stopped)}; {whose} data stay in {folder}."
