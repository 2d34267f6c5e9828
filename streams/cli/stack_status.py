"""`foremesh status`: which servers of the local stack run, and where."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from streams.cli import pass_settings
from streams.cli.console import PrintableConsole
from streams.devstack import LocalStack
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.pass_context
@pass_settings
def command(settings: Settings, ctx: click.Context) -> None:
    """Show which servers of the local stack run, and where; exit code 1 when one does not."""
    stack = LocalStack(Path(settings.build))
    env = stack.env() if all(child.pid for child in stack.children) else {}
    table = Table("server", "pid", "address", "log")
    for child, address in zip(stack.children, [*env.values(), "", ""], strict=False):
        table.add_row(child.name, str(child.pid or "does not run"), address, str(child.log))
    PrintableConsole().print(table)
    ctx.exit(0 if env else 1)
