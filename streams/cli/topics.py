"""`foremesh topics`: create or check the topics of the flow."""

from __future__ import annotations

import click
from rich.table import Table

from streams.adapters.kafka.topics import check_topics, create_topics, declared
from streams.cli import pass_settings
from streams.cli.console import PrintableConsole, echo
from streams.errors import TopicsMissing
from streams.settings import Settings

__all__ = ["command"]


@click.group()
def command() -> None:
    """Create or check the topics, changelogs included."""


@command.command()
@pass_settings
def create(settings: Settings) -> None:
    """Create the topics that are missing."""
    table = Table("topic", "partitions", "")
    for topic in create_topics(settings):
        table.add_row(
            topic.name, str(topic.partitions), "created" if topic.created else "was there"
        )
    PrintableConsole().print(table)
    check_or_raise(settings)


@command.command()
@pass_settings
def check(settings: Settings) -> None:
    """Report topics that are not as declared; exit code 1 when there are any."""
    check_or_raise(settings)
    echo(f"{len(declared(settings))} topics are as declared")


def check_or_raise(settings: Settings) -> None:
    """Raise `TopicsMissing` with every problem."""
    problems = check_topics(settings)
    if problems:
        raise TopicsMissing("topics are not as declared:\n" + "\n".join(problems))
