"""`foremesh evaluate`: score the predictions on a trace, or by a published protocol."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import RequestLog
from streams.cli.console import PrintableConsole
from streams.cli.given import refuse_given
from streams.cli.log_options import log_options, with_progress
from streams.cli.output import json_option, tell
from streams.cli.output_file import OutputFile, write_whole
from streams.errors import LogUnreadable
from streams.lab.evaluate import published_report, report
from streams.lab.evaluate.prequential import TraceEvaluation, evaluate
from streams.lab.evaluate.published import (
    events_learnt,
    folds,
    log_files,
    log_of,
    methods,
    read,
    score,
)
from streams.lab.evaluate.published_online import score_online
from streams.lab.evaluate.published_report import LogComparison
from streams.models.next_request.mixture import MixtureConfig
from streams.records import Request

__all__ = ["command"]

WITH_TABLE = ("traces", "limit", "json_path", "report_path", "table", "logs", "output")


@click.command()
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@log_options
@click.option(
    "--json",
    "json_path",
    type=OutputFile(),
    show_envvar=True,
    help="File for all figures, as JSON.",
)
@click.option(
    "--report",
    "report_path",
    type=OutputFile(".html", ".png"),
    show_envvar=True,
    help="File for the report: .html, or .png for the figures alone.",
)
@click.option("--every", is_flag=True, show_envvar=True, help="Show every single model.")
@click.option(
    "--published",
    is_flag=True,
    show_envvar=True,
    help="Score vectors as workers made them after the user's last request, without the network:"
    " as they are published, and given when, of which demand is made.",
)
@click.option(
    "--rnn/--no-rnn",
    default=True,
    show_default=True,
    show_envvar=True,
    help="Show the recurrent network too, together with the mixture and alone.",
)
@click.option(
    "--table",
    type=click.Choice(["ppm"]),
    show_envvar=True,
    help="Run this published protocol: TRACE is the folder of its logs and published results.",
)
@click.option(
    "--logs",
    default="",
    show_envvar=True,
    help="With --table, only these logs, separated by commas.",
)
@json_option(
    "a list of trace, slice, model, n, accuracy_1, recall_3, recall_5, mrr, log_loss, brier, ece,"
    " us_per_event, state_bytes_median, state_bytes_max; with --table of trace, model, accuracy,"
    " nt_mae_days"
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
    rnn: bool,
    table: str | None,
    logs: str,
    output: str,
) -> None:
    """Predict each event of a trace before learning it, and score the predictions.

    Events are taken in order of time over all users; `--limit` counts in that order. An event is
    scored when its user has an earlier one. The single models are the mixture's experts.

    It is scored by what workers learn from: the prediction at its time, given in which phase of a
    silence it came. Vectors are older than that, see --published.

    With `--table ppm` a trace is the folder of a published benchmark of the next event of a
    case: its folds are run, and foremesh, as workers run it, is shown beside a log-linear model
    trained in batches, as the others are, and every published method.
    """
    if traces.count("-") > 1:
        raise click.UsageError("standard input is read once only: name it once")
    _refuse_useless(table)
    shown: list[RenderableType]
    if table:
        compared = _compared(traces, [name for name in logs.split(",") if name], limit)
        page = list(published_report.tables(compared))
        shown = [*published_report.summaries(compared), Text(published_report.verdict(compared))]
        if limit is not None:
            shown.append(
                Text(f"Of each log the first {limit:,} rows only: not what was published.")
            )
        rows, draw = published_report.rows(compared), partial(published_report.figure, compared)
    else:
        evaluations = _evaluated(traces, mapping, limit, published=published, rnn=rnn)
        shown = [*report.tables(evaluations, every=every)]
        page = list(report.tables(evaluations, every=True))
        rows, draw = report.rows(evaluations), partial(report.figure, evaluations)
    tell(output, rows, *shown)
    if json_path:
        write_whole(json_path, f"{json.dumps(rows, indent=1)}\n".encode())
    if report_path:
        alone = report_path.suffix.lower() == ".png"
        write_whole(report_path, report.picture(draw()) if alone else report.page(draw(), page))


def _refuse_useless(table: str | None) -> None:
    if table:
        refuse_given("--table, a protocol of its own", WITH_TABLE.__contains__)
    else:
        refuse_given("traces of your own, without --table", lambda name: name != "logs")


def _evaluated(
    traces: tuple[str, ...],
    mapping: ColumnMapping,
    limit: int | None,
    *,
    published: bool,
    rnn: bool,
) -> dict[str, TraceEvaluation]:
    named = click.get_current_context().get_parameter_source("rnn")
    if published and rnn and named is not ParameterSource.DEFAULT:
        raise click.UsageError("--published is without the network: leave --rnn out")
    config = MixtureConfig(rnn=rnn and not published)
    evaluations: dict[str, TraceEvaluation] = {}
    for trace in traces:
        requests = _read(trace, mapping)[:limit]
        with _bar(Path(trace).name, len(requests)) as advance:
            evaluations[trace] = evaluate(requests, config, advance, published=published)
        if not evaluations[trace].when.n:
            raise LogUnreadable(
                f"{trace}: no user has two of the {len(requests):,} requests read, so nothing"
                " can be scored: check --user, or raise --limit"
            )
    return evaluations


def _compared(
    folders: tuple[str, ...], names: list[str], limit: int | None
) -> dict[str, LogComparison]:
    compared: dict[str, LogComparison] = {}
    for folder in map(Path, folders):
        files = log_files(folder, names)
        accuracy, mae_days = methods(folder)
        for name, path in files.items():
            cases = read(path, limit)
            log, parts = log_of(cases), list(folds(len(cases)))
            with _bar(name, events_learnt(log, parts)) as advance:
                found = [score_online(cases, fold, advance) for fold in parts]
                compared[name] = LogComparison(
                    ours=[scores.alone for scores in found],
                    network=[scores.network for scores in found],
                    batch=[score(log, fold, advance) for fold in parts],
                    accuracy=accuracy.get(name, {}),
                    mae_days=mae_days.get(name, {}),
                )
    return compared


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; yields a function that advances it by a number."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    console = PrintableConsole(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.advance(task, done)
        progress.update(task, completed=total)


def _read(trace: str, mapping: ColumnMapping) -> list[Request]:
    """The usable requests of a trace in order of time; of equal times, in that of the file."""
    log = RequestLog(trace, replace(mapping, parameters=mapping.parameters or ()), now_ms=lambda: 0)
    console = PrintableConsole(stderr=True)
    requests: list[Request] = []
    refused: Counter[str] = Counter()
    for item in with_progress(log):
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
