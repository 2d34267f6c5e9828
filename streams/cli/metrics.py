"""`foremesh metrics`: what each process tells Prometheus."""

from __future__ import annotations

import click

from streams.cli.console import echo

__all__ = ["command"]


@click.command()
def command() -> None:
    """Describe every metric: name, kind, labels, and the processes that expose it (Markdown)."""
    from streams.adapters.metrics.document import markdown  # noqa: PLC0415  # keep --help instant

    echo(markdown(), nl=False)
