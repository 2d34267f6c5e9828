"""`foremesh evaluate`: how good the predictions on a trace are."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams.adapters.log_columns import ColumnMapping
from streams.adapters.request_log import RequestLog
from streams.cli.log_options import log_options
from streams.errors import LogUnreadable
from streams.evaluate.prequential import Evaluation, evaluate
from streams.evaluate.report import tables, write
from streams.models.mixture import Config
from streams.records import Request

__all__ = ["command"]


@click.command()
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@log_options
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="File for all figures, as JSON.",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="File for the report: .html, or .png for the figures alone.",
)
@click.option("--every", is_flag=True, show_envvar=True, help="Show every single model.")
@click.option(
    "--published",
    is_flag=True,
    show_envvar=True,
    help="Leave out what other users asked for since the user's last request.",
)
def command(
    *,
    traces: tuple[str, ...],
    mapping: ColumnMapping,
    limit: int | None,
    json_path: Path | None,
    report_path: Path | None,
    every: bool,
    published: bool,
) -> None:
    """Predict each event of a trace before it is learnt, and say how well.

    In the order of time over all users; `--limit` counts in that order. An event is scored when
    its user has an earlier one. Singles are the members of the mixture.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    found: dict[str, Evaluation] = {}
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        for trace in traces:
            requests = _read(trace, mapping, console)[:limit]
            task = progress.add_task(Path(trace).name, total=len(requests))
            found[trace] = evaluate(
                requests,
                Config(arrival=not published),
                lambda done, task=task: progress.advance(task, done),  # type: ignore[misc]
            )
            progress.update(task, completed=len(requests))
    out = Console(width=max(Console().width, 110))
    for table in tables(found, every=every):
        out.print(table)
    if json_path:
        figures = {trace: evaluation.as_json() for trace, evaluation in found.items()}
        json_path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if report_path:
        write(found, report_path)


def _read(trace: str, mapping: ColumnMapping, console: Console) -> list[Request]:
    """The usable requests of a trace in order of time; of equal times, in that of the file."""
    log = RequestLog(trace, replace(mapping, parameters=()), now_ms=lambda: 0)
    requests: list[Request] = []
    refused: Counter[str] = Counter()
    for item in log:
        if not isinstance(item, Request):
            refused[item.reason] += 1
        elif not (item.user and item.service):
            refused["no user or no service"] += 1
        else:
            requests.append(item)
    for reason, count in refused.most_common(5):
        console.print(f"{trace}: {count:,} rows left out: {reason}", markup=False)
    if not requests:
        raise LogUnreadable(f"{trace} holds no usable row: check --user, --item and --time")
    requests.sort(key=lambda request: request.at_ms)
    return requests
