"""`foremesh catalog`: load a catalogue, infer one, show that in force, or the form of all."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import RequestLog
from streams.catalog import yaml_reader
from streams.catalog.inference import ADVICE, infer
from streams.catalog.schema import json_schema, markdown
from streams.catalog.yaml_writer import dump
from streams.cli import pass_settings
from streams.cli.console import PrintableConsole, echo, output_option
from streams.cli.log_options import log_argument, log_options, with_progress
from streams.engine.producer import CheckedProducer
from streams.errors import CatalogInvalid
from streams.flow.topology import key_of
from streams.pipeline.last_values import ANSWER_S, last_values
from streams.provisioners.local.command_policy import note_commands, noted_at
from streams.records import Request
from streams.records.catalog import (
    Catalog,
    CatalogEntry,
    Composite,
    Constituent,
    Pool,
    Resources,
    Tier,
)
from streams.settings import Settings

__all__ = ["command", "in_force", "publish"]


@click.group()
def command() -> None:
    """Load a catalogue, infer one from a request log, show that in force."""


@command.command()
@click.argument("file")
@pass_settings
def load(settings: Settings, file: str) -> None:
    """Put the catalogue of FILE into force; entries that it does not contain are withdrawn.

    A provisioner that is started from this directory may start its commands.
    """
    catalog = yaml_reader.load(file)
    counts = publish(settings, catalog)
    _allow_here(settings, catalog)
    echo(", ".join(f"{counts[name]} {name}" for name in ("loaded", "unchanged", "withdrawn")))


def _allow_here(settings: Settings, catalog: Catalog) -> None:
    noted = noted_at(settings.build, settings.prefix)
    try:
        note_commands(noted, (each.command for each in catalog.constituents.values()))
    except OSError as error:
        why = f"{noted} cannot be written: {error.strerror}"
        echo(f"{why}: give `foremesh provision` an --allow-command", err=True)


@command.command("infer")
@log_argument
@log_options
@click.option(
    "--output", "-o", show_envvar=True, help="New file to write.  [default: standard output]"
)
def infer_command(log: str, mapping: ColumnMapping, limit: int | None, output: str | None) -> None:
    """Infer a first catalogue from a request log, with numbers for you to edit."""
    rows = with_progress(RequestLog(log, mapping, limit=limit))
    text = dump(infer(row for row in rows if isinstance(row, Request)), ADVICE)
    if output is None:
        echo(text, nl=False)
    else:
        try:
            with Path(output).open("x", encoding="utf-8") as file:  # its numbers may be edited
                file.write(text)
        except OSError as error:
            raise CatalogInvalid(f"{output} cannot be written: {error.strerror}") from error
        echo(f"{output} written: edit its numbers, then `foremesh catalog load {output}`")


@command.command()
def schema() -> None:
    """Print the JSON Schema of catalogues, for editors."""
    echo(json.dumps(json_schema(), indent=2))


@command.command()
def reference() -> None:
    """Describe every key: what it may be, its default, an example (Markdown)."""
    echo(markdown(), nl=False)


@command.command()
@output_option("table", "yaml", "A table, or YAML to edit and load.")
@pass_settings
def show(settings: Settings, output: str) -> None:
    """Show the catalogue in force."""
    catalog = Catalog.of(in_force(settings).values())
    if output == "yaml":
        echo(dump(catalog), nl=False)
        return
    for table in tables(catalog):
        PrintableConsole().print(table)


def in_force(settings: Settings) -> dict[str, CatalogEntry]:
    """The entries on the catalogue's topic, by their key there."""
    return last_values(settings, "catalog", Constituent, Composite, Tier, Pool)


def publish(settings: Settings, catalog: Catalog) -> Counter[str]:
    """Put `catalog` into force; returns the numbers of entries loaded, unchanged and withdrawn.

    Raises
    ------
    BrokerUnreachable, TopicsMissing, DeliveryFailed
        The catalogue may not be in force; loading it again is safe.
    """
    previous, counts = in_force(settings), Counter[str]()
    producer = CheckedProducer(producer_config(settings))
    topic = settings.topic("catalog")
    for entry in catalog:
        key = key_of(entry) or b""
        if previous.pop(key.decode(), None) == entry:
            counts["unchanged"] += 1
            continue
        producer.send(topic, key, codec.encode(entry))
        counts["loaded"] += 1
    for name in previous:
        producer.send(topic, name.encode(), None)
        counts["withdrawn"] += 1
    producer.flush(ANSWER_S)
    return counts


def tables(catalog: Catalog) -> list[Table]:
    """A table of each kind of entry."""
    resources = ("cpu", "memory", "bandwidth")
    constituents = Table("constituent", *resources, "warm-up", "price/h", "at once")
    for c in catalog.constituents.values():
        others = (f"{c.warm_up_ms} ms", f"{c.price:g}", f"{c.concurrency}")
        constituents.add_row(escape(c.service), *_amounts(c.needs), *others)
    composites = Table("composite", "steps")
    for composite in catalog.composites.values():
        steps = " → ".join(" + ".join(step) for step in composite.steps)
        composites.add_row(escape(composite.service), escape(steps))
    tiers = Table("tier", "worth of 1 s", "SLA", "priority", "quota")
    for t in catalog.tiers.values():
        others = (f"{t.sla_ms} ms", f"{t.priority}", f"{100 * t.quota:g} %")
        tiers.add_row(escape(t.tier), f"{t.weight:g}", *others)
    pools = Table("pool", *resources, "budget/h")
    for p in catalog.pools.values():
        pools.add_row(escape(p.pool), *_amounts(p.capacity), f"{p.budget:g}")
    return [constituents, composites, tiers, pools]


def _amounts(amount: Resources) -> tuple[str, str, str]:
    return f"{amount.cpu:g} m", f"{amount.memory:g} MiB", f"{amount.bandwidth:g} Mbit/s"
