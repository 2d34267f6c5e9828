"""`foremesh compare`: simulate a log under every keep-warm policy."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import RequestLog
from streams.catalog import yaml_reader
from streams.catalog.inference import infer
from streams.cli import pass_settings
from streams.cli.amounts import AmountParam
from streams.cli.compare_femux import show_femux
from streams.cli.compare_report import RowLabel, at_price_label, shown, verdict
from streams.cli.console import PrintableConsole, echo
from streams.cli.durations import DurationParam
from streams.cli.given import refuse_given
from streams.cli.log_options import log_argument, log_options, with_progress
from streams.cli.output import json_option, tell
from streams.cli.output_file import OutputFile, write_whole
from streams.errors import CatalogInvalid, LogUnreadable
from streams.lab.compare.ledger import HOUR_MS, PolicyLedger
from streams.lab.compare.policies import KeepAlive, KeepWarmPolicy
from streams.lab.compare.run import OURS, POLICIES, PolicyRow, compare, counted_from, row_of
from streams.lab.compare.staged import EVERY_PRICE, PRICES, StagedRuns, within
from streams.records import Request
from streams.records.catalog import Catalog
from streams.settings import Settings
from streams.stages.base import RecordUnusable, StepContext, admit

__all__ = ["command"]

MOST_REASONS = 3  # told of what cannot be used
WITH_TABLE = ("log", "table", "json_path", "output")


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
    "--policies",
    default=",".join(POLICIES),
    show_default=True,
    show_envvar=True,
    help="Policies to compare, separated by commas.",
)
@click.option(
    "--warm-up",
    type=AmountParam(0, 1, max_open=True),
    default=0.3,
    show_default=True,
    show_envvar=True,
    help="Share of the log that policies only learn from.",
)
@click.option(
    "--today",
    "today_ms",
    type=DurationParam(),
    show_envvar=True,
    help="The keep-alive in use today, to compare with, as 10m or 1h.",
)
@click.option(
    "--every", is_flag=True, show_envvar=True, help="Show every row, and foremesh at more prices."
)
@click.option(
    "--capacity-gb",
    type=AmountParam(min=0, min_open=True),
    show_envvar=True,
    help="Memory limit of all instances together.  [default: unbounded]",
)
@click.option(
    "--json", "json_path", type=OutputFile(), show_envvar=True, help="File for the rows, as JSON."
)
@click.option(
    "--table",
    type=click.Choice(["femux"]),
    show_envvar=True,
    help="Run this published protocol: FILE is its table, or the folder of it; takes --json alone.",
)
@click.option(
    "--figure",
    type=OutputFile(".png", ".svg", ".pdf", ".html"),
    show_envvar=True,
    help="Draw the curve: .png, .svg, .pdf, .html.",
)
@json_option(
    "policies (a list of policy, parameter, requests, cold_start_rate, cold_start_ms, cost,"
    " total_cost and more; with --table cold_starts, gb_s, rum), hours, verdict"
)
@pass_settings
def command(
    settings: Settings,
    *,
    log: str,
    mapping: ColumnMapping,
    limit: int | None,
    catalog_path: str | None,
    policies: str,
    warm_up: float,
    today_ms: int | None,
    every: bool,
    capacity_gb: float | None,
    json_path: Path | None,
    table: str | None,
    figure: Path | None,
    output: str,
) -> None:
    """What foremesh would save on a log, against keep-alive and what else is known.

    Each row of foremesh is a replay of the log through the stages that a worker runs, at a factor
    on the price of warm time: 1 is what a worker does, the others show the curve.

    With `--table femux` the file is FeMux's published workload: foremesh is shown beside FeMux,
    Knative and timers, by the protocol of the paper.
    """
    if table:
        refuse_given("--table, a protocol of its own", WITH_TABLE.__contains__)
        _write_json(show_femux(Path(log), settings, output), json_path)
        return
    chosen, capacity_mib = _chosen(policies), _capacity_mib(capacity_gb, mapping)
    requests = _requests_of(RequestLog(log, mapping, limit=limit))
    catalog = _without_layers(yaml_reader.load(catalog_path)) if catalog_path else infer(requests)
    catalog = within(catalog, capacity_mib)
    families = (POLICIES[name](catalog, capacity_mib) for name in chosen)
    tested: list[KeepWarmPolicy] = [policy for family in families for policy in family]
    today = None if today_ms is None else KeepAlive(today_ms)
    if today and _row_of(today) not in map(_row_of, tested):
        tested.append(today)
    usable = _usable(requests, catalog)
    prices = (EVERY_PRICE if every else PRICES) if OURS in chosen and usable else ()
    limits = {"warm_up": warm_up, "capacity_mib": capacity_mib}
    steps = _steps(usable, catalog, tested, prices, settings, **limits)
    results = list(_with_bar(steps, len(usable) * (1 + len(prices))))
    known = {**_known_of(usable, warm_up), "today": today and _row_of(today)}
    _tell(output, results, every=every, guessed=not catalog_path, **known)
    _write_json([row.as_json() for row in results], json_path)
    _draw(results, figure)


def _requests_of(log: RequestLog) -> list[Request]:
    """The requests of a log, with progress; LogUnreadable where it does not say when they came."""
    found = [row for row in with_progress(log) if isinstance(row, Request)]
    if log.untimed:
        raise LogUnreadable(
            f"{log.name} does not say when requests came, which all that is compared depends on:"
            " name the column of times with --time"
        )
    return found


def _known_of(requests: Sequence[Request], warm_up: float) -> dict[str, Any]:
    """Hours that count, and in how many seconds half of the requests were served."""
    if not requests:
        return {"hours": 0.0, "served_s": 0.0}
    counted_ms = requests[-1].at_ms - counted_from(requests, warm_up)
    served_ms = [request.serve_ms for request in requests if request.serve_ms]
    served_s = statistics.median(served_ms) / 1000 if served_ms else 0.0
    return {"hours": counted_ms / HOUR_MS, "served_s": served_s}


def _steps(
    requests: Sequence[Request],
    catalog: Catalog,
    tested: Sequence[KeepWarmPolicy],
    prices: Sequence[float],
    settings: Settings,
    *,
    warm_up: float,
    capacity_mib: float,
) -> Iterator[int | PolicyRow]:
    """Rows of all policies, and in between the number of requests taken since the last step."""
    for step in compare(requests, catalog, tested, warm_up=warm_up, capacity_mib=capacity_mib):
        yield step if isinstance(step, PolicyRow) else 1
    if prices:
        runs = StagedRuns(requests, catalog, counted_from(requests, warm_up), settings)
        for found in runs.run(prices):
            if isinstance(found, int):
                yield found
            else:
                yield from map(_our_row, prices, found)


def _with_bar(steps: Iterable[int | PolicyRow], total: int) -> Iterator[PolicyRow]:
    """The rows, while a bar shows how far they are."""
    with Progress(console=PrintableConsole(stderr=True)) as bar:
        task = bar.add_task("Comparing", total=total)
        for step in steps:
            if isinstance(step, PolicyRow):
                yield step
            else:
                bar.advance(task, step)


def _tell(output: str, rows: Sequence[PolicyRow], *, every: bool, **given: Any) -> None:
    facts = {
        "policies": [row.as_json() for row in rows],
        "hours": given["hours"],
        "verdict": verdict(rows, **given),
    }
    tell(output, facts, *shown(rows, every=every, **given))


def _row_of(policy: KeepWarmPolicy) -> RowLabel:
    return policy.name, policy.parameter


def _our_row(price: float, ledger: PolicyLedger) -> PolicyRow:
    return row_of(OURS, at_price_label(price), ledger)


def _chosen(policies: str) -> list[str]:
    chosen = policies.split(",")
    unknown = [name for name in chosen if name not in POLICIES]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(POLICIES)}")
    return chosen


def _capacity_mib(capacity_gb: float | None, mapping: ColumnMapping) -> float:
    """The memory limit; timers with one would end what is busy, so it is refused with durations."""
    if capacity_gb and mapping.duration:
        raise click.UsageError("--capacity-gb is not compared with --duration yet: leave one out")
    return capacity_gb * 1024 if capacity_gb else math.inf


def _without_layers(known: Catalog) -> Catalog:
    """The catalogue; raises `CatalogInvalid` for layers, whose starts the ledger does not know."""
    if known.bases:
        raise CatalogInvalid(
            f"{min(known.bases)!r} is the base of other constituents, whose starts cannot be"
            " compared yet: leave `base` out, and give each the time of its whole start"
        )
    return known


def _usable(requests: Sequence[Request], catalog: Catalog) -> list[Request]:
    """The requests that the stages would admit, in order of time; tells of the others.

    Raises
    ------
    LogUnreadable
        There are requests, and none of them can be used.
    """
    usable, reasons = [], Counter[str]()
    for request in requests:
        try:
            admit(request, StepContext(catalog=catalog))
        except RecordUnusable as error:
            reasons[str(error)] += 1
        else:
            usable.append(request)
    if reasons:
        said = f"{reasons.total():,} of {len(requests):,} requests cannot be used: "
        said += _counted(reasons)
        if not usable:
            raise LogUnreadable(said)
        echo(said, err=True)
    return sorted(usable, key=lambda request: request.at_ms)


def _counted(reasons: Counter[str]) -> str:
    """The commonest reasons; each with its count where there are several."""
    told = [f"{reason} ({count:,})" for reason, count in reasons.most_common(MOST_REASONS)]
    rest = len(reasons) - len(told)
    return "; ".join(
        [*(told if told[1:] else reasons), *([f"{rest} other reasons"] if rest else [])]
    )


def _write_json(rows: Sequence[Mapping[str, Any]], path: Path | None) -> None:
    if path:
        write_whole(path, json.dumps(rows, indent=2).encode())


def _draw(rows: Sequence[PolicyRow], figure: Path | None) -> None:
    if figure:
        from streams.lab.compare.figure import draw  # noqa: PLC0415  # matplotlib loads slowly

        write_whole(figure, draw(rows, figure.suffix.lower()))
