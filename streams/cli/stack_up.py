"""`foremesh up`: start the local stack, create its topics and tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from streams.adapters.kafka.topics import create_topics
from streams.adapters.postgres.maintenance import migrate
from streams.cli import pass_settings
from streams.cli.console import PrintableConsole, echo
from streams.devstack import LocalStack, tools
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@pass_settings
def command(settings: Settings) -> None:
    """Start the local stack: Kafka, PostgreSQL, topics, schema. What runs already stays."""
    console = PrintableConsole()
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
    console.print(f"Kafka serves {len(topics)} topics, PostgreSQL has the schema. In your shell:")
    for name, value in stack.env().items():
        echo(f"export {name}={value}")
    console.print("`foremesh status` says what runs, `foremesh down` stops it.")
