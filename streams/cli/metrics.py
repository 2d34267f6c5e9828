"""`foremesh metrics`: what each process tells Prometheus."""

from __future__ import annotations

import click

from streams.cli.output import json_option, tell

__all__ = ["command"]


@click.command()
@json_option("a list of name, kind, labels (values by name), processes, meaning")
def command(output: str) -> None:
    """Describe every metric: name, kind, labels, and the processes that expose it (Markdown)."""
    from streams.adapters.metrics.document import as_json, markdown  # noqa: PLC0415  # keep --help instant

    tell(output, as_json(), markdown().rstrip("\n"))
