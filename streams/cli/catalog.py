"""`foremesh catalog`: load a catalogue, infer one, show that in force, or the form of all."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import BadRow, RequestLog
from streams.catalog import yaml_reader
from streams.catalog.inference import A_NAME, ADVICE, LeftOut, infer
from streams.catalog.schema import json_schema, markdown
from streams.catalog.yaml_writer import dump, plain
from streams.cli import pass_settings
from streams.cli.catalog_tables import tables_of
from streams.cli.command_group import CommandGroup
from streams.cli.console import echo
from streams.cli.log_options import log_argument, log_options, with_progress
from streams.cli.output import json_option, tell
from streams.cli.output_file import OutputFile, write_whole
from streams.engine.producer import CheckedProducer
from streams.errors import CatalogInvalid
from streams.flow.topology import key_of
from streams.pipeline.last_values import ANSWER_S, entries_in_force
from streams.provisioners.local.command_policy import note_commands, noted_at
from streams.records import Request
from streams.records.catalog import Catalog
from streams.report.text_table import counted
from streams.settings import Settings

__all__ = ["command", "publish"]


@click.group(cls=CommandGroup)
def command() -> None:
    """Load a catalogue, infer one from a request log, show that in force."""


@command.command()
@click.argument("file", metavar="FILE|-")
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
    "--output",
    "-o",
    type=OutputFile(),
    show_envvar=True,
    help="New file to write.  [default: standard output]",
)
def infer_command(log: str, mapping: ColumnMapping, limit: int | None, output: Path | None) -> None:
    """Infer a first catalogue from a request log, with numbers for you to edit."""
    if output is not None and output.exists():
        raise CatalogInvalid(
            f"{output} exists, and its numbers may have been edited: remove it, or name another"
        )
    rows = RequestLog(log, mapping, limit=limit)
    served_ms, left_out = array("q"), LeftOut()
    catalog = infer(_noted(with_progress(rows), served_ms), left_out)
    name, text = Path(log).name, dump(catalog, ADVICE)
    if left_out.count:
        echo(f"{name}: {_left_out(left_out)}", err=True)
    took = _took(served_ms) if mapping.duration and mapping.duration not in rows.absent else ""
    echo(f"{name}: {counted(len(catalog.composites), 'service')} found{took}", err=True)
    if output is None:
        echo(text, nl=False)
    else:
        write_whole(output, text.encode(), new=True)
        echo(f"{output} written: edit its numbers, then `foremesh catalog load {output}`")


def _left_out(found: LeftOut) -> str:
    """How many requests are in no catalogue, and why."""
    why = f", such as for {found.first[:40]!r}: {A_NAME}" if found.first else ": no service"
    return f"{counted(found.count, 'request')} left out{why}"


def _took(served_ms: array[int]) -> str:
    """How long half of the requests took, which shows whether the unit is right."""
    if not served_ms:
        return "; none of the requests took half a millisecond: see --duration-unit"
    import numpy as np  # noqa: PLC0415  # keep --help instant

    half_ms = float(np.median(np.frombuffer(served_ms, np.int64)))
    return f"; half of the requests took {half_ms / 1000:.3g} s or less"


def _noted(rows: Iterable[Request | BadRow], served_ms: array[int]) -> Iterator[Request]:
    """The requests; how long each was served, where the log says so, is added to `served_ms`."""
    for row in rows:
        if isinstance(row, Request):
            if row.serve_ms:
                served_ms.append(row.serve_ms)
            yield row


@command.command()
def schema() -> None:
    """Print the JSON Schema of catalogues, for editors."""
    echo(json.dumps(json_schema(), indent=2))


@command.command()
def reference() -> None:
    """Describe every key: what it may be, its default, an example (Markdown)."""
    echo(markdown(), nl=False)


@command.command()
@json_option("constituents, composites, tiers, pools (by name, as in YAML)", "yaml")
@pass_settings
def show(settings: Settings, output: str) -> None:
    """Show the catalogue in force; as YAML it can be edited and loaded."""
    catalog = Catalog.of(entries_in_force(settings).values())
    if output == "yaml":
        echo(dump(catalog), nl=False)
    else:
        tell(output, plain(catalog), *tables_of(catalog))


def publish(settings: Settings, catalog: Catalog) -> Counter[str]:
    """Put `catalog` into force; returns the numbers of entries loaded, unchanged and withdrawn.

    Raises
    ------
    BrokerUnreachable, TopicsMissing, DeliveryFailed
        The catalogue may not be in force; loading it again is safe.
    """
    previous, counts = entries_in_force(settings), Counter[str]()
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
