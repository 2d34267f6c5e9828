"""`foremesh replay`: run the stages over a log in one thread, without Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import click
from rich.text import Text

from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import BadRow, RequestLog
from streams.adapters.postgres.maintenance import check_schema
from streams.catalog import yaml_reader
from streams.catalog.inference import infer
from streams.cli import pass_settings
from streams.cli.amounts import AmountParam
from streams.cli.console import echo
from streams.cli.log_options import log_argument, log_options, with_progress
from streams.cli.log_producer import letter_of
from streams.cli.output import json_option, tell
from streams.cli.produce import source_of
from streams.pipeline.replay import ReplayedFlow, at_price
from streams.pipeline.replayed_rows import ReplayedRows
from streams.records import Command, DeadLetter, Instance, Outcome, Record, Request, Utilisation
from streams.records.catalog import Catalog
from streams.records.control import Control
from streams.report.summary import FlowSummary, summarise
from streams.report.tables import as_json, tables
from streams.report.text_table import NAME, NUMBER, TextTable
from streams.runtime.clock import wall_ms
from streams.runtime.collector import collect_seldom
from streams.settings import Settings

__all__ = ["command"]

MOST_REASONS = 20  # counted separately; further ones are counted together


@click.command()
@log_argument
@log_options
@click.option(
    "--catalog",
    "catalog_path",
    type=click.Path(dir_okay=False),
    show_envvar=True,
    help="Catalogue in YAML.  [default: inferred from the log]",
)
@click.option(
    "--price",
    type=AmountParam(min=0, min_open=True),
    default=1.0,
    show_default=True,
    show_envvar=True,
    help="Factor on the price of warm time: above 1 less is kept warm.",
)
@json_option(
    "that of `foremesh report` (from, to, pools), records (made, by kind), not_used (by reason)"
)
@click.option(
    "--postgres",
    is_flag=True,
    show_envvar=True,
    help="Write the rows that the sink would to the database of FOREMESH_POSTGRES.",
)
@pass_settings
def command(
    settings: Settings,
    *,
    log: str,
    mapping: ColumnMapping,
    limit: int | None,
    catalog_path: str | None,
    price: float,
    output: str,
    postgres: bool,
) -> None:
    """Run a request log through all stages, without Kafka, and report the simulated outcome.

    Requests come when the log says, and instances are simulated: the result is that of a live run
    with `foremesh provision --dry-run`. The same log once more changes no row in PostgreSQL; for
    another catalogue or price take another database.
    """
    if postgres:
        check_schema(settings.postgres)
    items = RequestLog(log, mapping, limit=limit)
    catalog = _catalog(items, catalog_path)
    with ReplayedRows(settings.postgres, source_of(log)) if postgres else nullcontext() as rows:
        run = ReplayRun(
            ReplayedFlow(settings, catalog, received_ms=wall_ms()), source_of(log), rows
        )
        collect_seldom()
        run.control(at_price(price, catalog) if price != 1.0 else ())
        outcomes = run.outcomes(with_progress(items))
        summary = summarise(outcomes, run.instances(), run.commands, clocks=run.clocks)
    tell(output, {**as_json(summary), **run.as_json()}, *shown(summary, run.records, run.reasons))


def _catalog(items: RequestLog, path: str | None) -> Catalog:
    if path is not None:
        return yaml_reader.load(path)
    if items.passing:
        what = "standard input" if items.name == "-" else items.path
        raise click.UsageError(f"{what} is read once only: name a catalogue with --catalog")
    echo("No --catalog: every service stands for itself, with guessed numbers.", err=True)
    return infer(row for row in items if isinstance(row, Request))


@dataclass
class ReplayRun:
    """A replay under way, and the records kept for its summary."""

    flow: ReplayedFlow
    source: str  # stands for the topic in dead letters
    rows: ReplayedRows | None = None
    records: Counter[str] = field(default_factory=Counter)  # made, by kind
    reasons: Counter[str] = field(default_factory=Counter)  # why rows and records were not used
    commands: list[Command] = field(default_factory=list)
    lives: dict[str, Instance] = field(default_factory=dict)
    clocks: dict[str, int] = field(default_factory=dict)  # the newest time of each pool

    def control(self, overrides: Iterable[Control]) -> None:
        """Feed operator overrides to the flow."""
        for override in overrides:
            for record in self.flow.feed(override):
                self._note(record)

    def outcomes(self, items: Iterable[Request | BadRow]) -> Iterator[Outcome]:
        """Feed the log to the flow; yields each outcome."""
        for item in items:
            if isinstance(item, BadRow):
                self._note(letter_of(item, self.source))
                continue
            for record in self.flow.feed(item):
                self._note(record)
                if isinstance(record, Outcome):
                    yield record

    def instances(self) -> Iterator[Instance]:
        """The last record of each instance; call it after `outcomes`."""
        yield from self.lives.values()

    def as_json(self) -> dict[str, Any]:
        """The figures that are not in the summary, as plain values."""
        return {"records": dict(sorted(self.records.items())), "not_used": dict(self.reasons)}

    def _note(self, record: Record) -> None:
        if self.rows is not None:
            self.rows.put(record)
        self.records[type(record).__name__] += 1
        match record:
            case Command():
                self.commands.append(record)
                self._see(record.pool, record.issued_ms)
            case Outcome() | Utilisation():
                self._see(record.pool, record.at_ms)
            case Instance():
                self.lives[record.instance_id] = record
            case DeadLetter():
                self._refuse(record.reason)
            case _:
                pass

    def _see(self, pool: str, at_ms: int) -> None:
        """Have the clock of a pool go on, as the view `pool_clock` does."""
        self.clocks[pool] = max(at_ms, self.clocks.get(pool, at_ms))

    def _refuse(self, reason: str) -> None:
        known = reason in self.reasons or len(self.reasons) < MOST_REASONS
        self.reasons[reason if known else "other reasons"] += 1


def shown(
    summary: FlowSummary, records: Counter[str], reasons: Counter[str]
) -> Iterator[TextTable | Text]:
    """The outcome for people, the records made by kind, and why rows were not used."""
    yield from tables(summary)
    made = f"{records.total():,} records in all."
    yield _counted("Records made", "record", records, made)
    if reasons:
        lost = f"{reasons.total():,} rows and records could not be used."
        yield _counted("Not used", "reason", reasons, lost)


def _counted(title: str, what: str, counts: Counter[str], legend: str) -> TextTable:
    return TextTable(
        title=title,
        columns={what: NAME, "count": NUMBER},
        rows=[(name, f"{count:,}") for name, count in counts.most_common()],
        legend=legend,
    )
