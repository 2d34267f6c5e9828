"""`foremesh compare`: simulate a log under every keep-warm policy."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import RequestLog
from streams.catalog import yaml_reader
from streams.catalog.inference import infer
from streams.cli import pass_settings
from streams.cli.log_options import log_argument, log_options, with_progress
from streams.errors import CatalogInvalid
from streams.lab.compare.advantage import OTHERS, advantages
from streams.lab.compare.predictive import PredictivePolicy, WorthForecast
from streams.lab.compare.run import POLICIES, SCALES, PolicyRow, compare
from streams.records import Request
from streams.records.catalog import Catalog
from streams.settings import Settings
from streams.stages.base import RecordUnusable, StepContext, admit

__all__ = ["command", "show"]


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
    type=click.FloatRange(0, 1, max_open=True),
    default=0.3,
    show_default=True,
    show_envvar=True,
    help="Share of the log that policies only learn from.",
)
@click.option(
    "--every",
    "tick_s",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    show_envvar=True,
    help="Finest time step of the forecast between requests, in seconds.",
)
@click.option(
    "--capacity-gb",
    type=click.FloatRange(min=0, min_open=True),
    show_envvar=True,
    help="Memory limit of all instances together.  [default: unbounded]",
)
@click.option(
    "--per-start",
    "start_s",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    show_envvar=True,
    help="Fixed cost of each cold start in seconds of waiting, beside the wait itself.",
)
@click.option(
    "--json", "json_path", type=Path, show_envvar=True, help="File for the rows, as JSON."
)
@click.option("--figure", type=Path, show_envvar=True, help="Draw the curve: .png, .svg, .html.")
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
    tick_s: int,
    capacity_gb: float | None,
    start_s: float,
    json_path: Path | None,
    figure: Path | None,
) -> None:
    """Compare keep-warm policies: fixed keep-alive, histogram, caching, oracle, and foremesh."""
    chosen = _chosen(policies)
    rows = with_progress(RequestLog(log, mapping, limit=limit))
    requests = [row for row in rows if isinstance(row, Request)]
    catalog = _without_layers(yaml_reader.load(catalog_path)) if catalog_path else infer(requests)
    capacity_mib = capacity_gb * 1024 if capacity_gb else math.inf
    start_ms = round(start_s * 1000)
    families = (POLICIES[name](catalog, capacity_mib, start_ms) for name in chosen)
    tested = [policy for family in families for policy in family]
    forecast = WorthForecast(catalog, settings.horizon_ms, tick_s * 1000, start_ms)
    ours = PredictivePolicy(SCALES, forecast, capacity_mib) if "foremesh" in chosen else None
    steps = compare(
        _usable(requests, catalog),
        catalog,
        tested,
        ours,
        warm_up=warm_up,
        capacity_mib=capacity_mib,
        start_ms=start_ms,
    )
    bar = Console(stderr=True)
    total = len(requests) + len(tested) + (len(SCALES) if ours else 0)
    progress = track(steps, "Comparing", total, console=bar)
    results = [step for step in progress if isinstance(step, PolicyRow)]
    show(results)
    _write(results, json_path, figure)


def _chosen(policies: str) -> list[str]:
    chosen = policies.split(",")
    unknown = [name for name in chosen if name not in POLICIES]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(POLICIES)}")
    return chosen


def _without_layers(known: Catalog) -> Catalog:
    """The catalogue; raises `CatalogInvalid` for layers, whose starts the ledger does not know."""
    if known.bases:
        raise CatalogInvalid(
            f"{min(known.bases)!r} is the base of other constituents, whose starts cannot be"
            " compared yet: leave `base` out, and give each the time of its whole start"
        )
    return known


def _usable(requests: Sequence[Request], catalog: Catalog) -> list[Request]:
    """The requests that the stages would admit, in order of time."""
    usable = []
    for request in requests:
        try:
            admit(request, StepContext(catalog=catalog))
        except RecordUnusable:
            continue
        usable.append(request)
    return sorted(usable, key=lambda request: request.at_ms)


def _write(rows: Sequence[PolicyRow], json_path: Path | None, figure: Path | None) -> None:
    if json_path:
        text = json.dumps([row.as_json() for row in rows], indent=2)
        json_path.write_text(text, encoding="utf-8")
    if figure:
        from streams.lab.compare.figure import draw  # noqa: PLC0415  # matplotlib loads slowly

        draw(rows, figure)


def show(rows: Sequence[PolicyRow]) -> None:
    """Print a row for each policy and parameter, and foremesh against the best other policies."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("policy", "parameter"):
        table.add_column(name)
    for name in ("cold %", "cold s", "p99 ms", "warm h", "GB h", "useful %", "cost", "total"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        numbers = (
            f"{100 * row.cold_start_rate:.2f}",
            f"{row.cold_start_ms / 1000:,.0f}",
            f"{row.latency_ms[2]:,.0f}",
            f"{row.wasted_seconds / 3600:,.0f}",
            f"{row.wasted_gb_s / 3600:,.0f}",
            f"{100 * row.utility:.1f}",
            f"{row.cost:,.2f}",
            f"{row.total_cost:,.2f}",
        )
        table.add_row(Text(row.policy), Text(row.parameter), *numbers)
    Console().print(table)
    _show_advantages(rows)


def _show_advantages(rows: Sequence[PolicyRow]) -> None:
    """Print foremesh against the best other policies, if both were compared."""
    compared = [at for at in advantages(rows) if not math.isnan(at.often_gb_hours)]
    if not compared:
        return
    title = f"foremesh against the best of {', '.join(OTHERS)}"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for name in ("cold %", "GB h", "oracle", "ours, as often", "%", "ours, as long", "%"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("cold s", "ours, as wasteful", "%"):
        table.add_column(name, justify="right", no_wrap=True)
    for at in compared:
        table.add_row(
            f"{100 * at.cold_start_rate:g}",
            *(f"{gb_h:,.0f}" for gb_h in (at.gb_hours, at.oracle_gb_hours)),
            *(f"{at.often_gb_hours:,.0f}", f"{100 * at.often_gb_hours / at.gb_hours:.0f}"),
            *(f"{at.long_gb_hours:,.0f}", f"{100 * at.long_gb_hours / at.gb_hours:.0f}"),
            *(f"{at.cold_s:,.0f}", f"{at.ours_cold_s:,.0f}"),
            f"{100 * at.ours_cold_s / at.cold_s:.0f}",
        )
    Console().print(table)
