"""`foremesh topics`: create or check the topics of the flow."""

from __future__ import annotations

from collections.abc import Sequence

import click

from streams.adapters.kafka.topics import TopicState, check_topics, create_topics, declared
from streams.cli import pass_settings
from streams.cli.command_group import CommandGroup
from streams.cli.console import echo
from streams.cli.output import json_option, tell
from streams.errors import TopicsMissing
from streams.report.text_table import NAME, NUMBER, WHOLE, TextTable
from streams.settings import Settings

__all__ = ["command", "table_of"]


@click.group(cls=CommandGroup)
def command() -> None:
    """Create or check the topics, changelogs included."""


@command.command()
@json_option("a list of topic, partitions, created")
@pass_settings
def create(settings: Settings, output: str) -> None:
    """Create the topics that are missing."""
    made = create_topics(settings)
    found = [{"topic": t.name, "partitions": t.partitions, "created": t.created} for t in made]
    tell(output, found, table_of(made))
    check_or_raise(settings)


@command.command()
@json_option("topics (how many), problems (a list of sentences)")
@click.pass_context
@pass_settings
def check(settings: Settings, ctx: click.Context, output: str) -> None:
    """Report topics that are not as declared; exit code 1 when there are any."""
    number = len(declared(settings))
    if output == "json":
        problems = check_topics(settings)
        tell(output, {"topics": number, "problems": problems})
        ctx.exit(1 if problems else 0)
    check_or_raise(settings)
    echo(f"{number} topics are as declared")


def check_or_raise(settings: Settings) -> None:
    """Raise `TopicsMissing` with every problem."""
    problems = check_topics(settings)
    if problems:
        raise TopicsMissing("topics are not as declared:\n" + "\n".join(problems))


def table_of(topics: Sequence[TopicState]) -> TextTable:
    """The topics for people, and how many of them are new."""
    return TextTable(
        columns={"topic": NAME, "partitions": NUMBER, "": WHOLE},
        rows=[(t.name, str(t.partitions), "created" if t.created else "was there") for t in topics],
        legend=f"{len(topics)} topics, {sum(t.created for t in topics)} of them created now.",
    )
