"""`foremesh up`: start the local stack, create its topics and tables."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import click

from streams.adapters.kafka.topics import create_topics
from streams.adapters.postgres.maintenance import migrate
from streams.cli import pass_settings
from streams.cli.console import PrintableConsole, echo
from streams.cli.output import json_option, tell
from streams.devstack import LocalStack, tools
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@json_option("environment (the variables to set), topics (how many)")
@pass_settings
def command(settings: Settings, output: str) -> None:
    """Start the local stack: Kafka, PostgreSQL, topics, schema. What runs already stays.

    It prints the variables that commands need: eval "$(foremesh up)" sets them in your shell.
    """
    console = PrintableConsole(stderr=True)
    build = Path(settings.build)
    with console.status("looking for Java and Kafka's jars (fetched once, 54 MB)") as status:
        tools.java()
        tools.kafka_jars(build)
        status.update("starting Kafka and PostgreSQL")
        stack = LocalStack(build, tied=False).start()
        local = replace(settings, kafka=stack.kafka.address, postgres=stack.postgres.url())
        status.update("creating topics")
        topics = create_topics(local)
        status.update("migrating the database")
        migrate(local.postgres)
    env = stack.env()
    if output == "text":  # not where a shell would run it
        echo(
            f"Kafka serves {len(topics)} topics, PostgreSQL has the schema. In your shell:",
            err=True,
        )
    tell(
        output,
        {"environment": env, "topics": len(topics)},
        *(f"export {name}={shlex.quote(value)}" for name, value in env.items()),
    )
    if output == "text":
        echo("`foremesh status` says what runs, `foremesh down` stops it.", err=True)
