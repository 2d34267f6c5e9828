"""Options of the commands that read a request log, and a progress bar for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from shlex import quote
from typing import Any

import click
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.formats import FORMATS
from streams.adapters.logs.request_log import BadRow, RequestLog
from streams.adapters.logs.times import TIME_UNITS
from streams.cli.console import PrintableConsole, echo
from streams.cli.patterns import RegexParam, TimeFormatParam
from streams.records import Request

__all__ = ["log_argument", "log_options", "with_progress"]

UPDATE_ROWS = 500  # between updates of the bar
MOST_NAMED = 3  # services in a sentence

_OPTIONS = (
    click.option(
        "--format",
        "log_format",
        type=click.Choice(["auto", *FORMATS]),
        default="auto",
        show_default=True,
        show_envvar=True,
        help="Format of the log; auto tells it by the name or the content.",
    ),
    click.option(
        "--pattern",
        type=RegexParam(groups=True),
        show_envvar=True,
        help="A format of your own: a regular expression whose named groups are columns.",
    ),
    click.option(
        "--user",
        show_envvar=True,
        help="Column of the user.  [default: by its usual names; of access logs, who is logged in,"
        " or else the address]",
    ),
    click.option(
        "--item",
        "--service",
        "item",
        show_envvar=True,
        help="Column of the service.  [default: by its usual names; of access logs, the first"
        " segment of the path]",
    ),
    click.option(
        "--service-from",
        type=RegexParam(),
        show_envvar=True,
        help="Regular expression: its last group in that column is the service; rows without it"
        " are left out.",
    ),
    click.option(
        "--time", show_envvar=True, help="Column of the time; without one, the current time."
    ),
    click.option("--tier", show_envvar=True, help="Column of the tier."),
    click.option("--pool", show_envvar=True, help="Column of the pool."),
    click.option(
        "--duration",
        show_envvar=True,
        help="Column of how long a request was served: in replays what serves it is busy for so long.",
    ),
    click.option(
        "--duration-unit",
        type=click.Choice([*TIME_UNITS]),
        default="ms",
        show_default=True,
        show_envvar=True,
        help="Unit of the duration.",
    ),
    click.option(
        "--parameter",
        "parameters",
        multiple=True,
        show_envvar=True,
        help="Column to keep as a parameter; may be repeated.  [default: all others; none of access"
        " logs and SWF]",
    ),
    click.option(
        "--time-unit",
        type=click.Choice(["auto", *TIME_UNITS]),
        default="auto",
        show_default=True,
        show_envvar=True,
        help="Unit of the time since the epoch; auto reads ISO 8601 and the time of access logs, or"
        " infers the unit from the magnitude.",
    ),
    click.option(
        "--time-format",
        type=TimeFormatParam(),
        show_envvar=True,
        help="Form of the time, as of strptime: '%d.%m.%Y %H:%M:%S'.",
    ),
    click.option(
        "--limit", type=click.IntRange(min=0), show_envvar=True, help="Maximum number of rows."
    ),
)

# Options that have the names of the fields of a `ColumnMapping`.
_SAME_NAMES = (
    "user",
    "time",
    "tier",
    "pool",
    "duration",
    "duration_unit",
    "time_unit",
    "time_format",
    "service_from",
    "pattern",
)

log_argument = click.argument("log", metavar="FILE|-")


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a log; it is called with `mapping` and `limit`.

    Columns that no option names are those of the format, or found by their usual names.
    """

    @functools.wraps(command)
    def with_mapping(
        *args: Any,
        log_format: str,
        item: str | None,
        parameters: tuple[str, ...],
        **given: Any,
    ) -> Any:
        if given["pattern"] is not None and log_format != "auto":
            raise click.UsageError("--pattern is a format of its own: leave out --format")
        mapping = ColumnMapping(
            format=log_format,
            service=item,
            parameters=parameters or None,
            **{name: given.pop(name) for name in _SAME_NAMES},
        )
        return command(*args, mapping=mapping, **given)

    for option in reversed(_OPTIONS):
        with_mapping = option(with_mapping)
    return with_mapping


class RowsColumn(ProgressColumn):
    """The number of rows read so far, and the rows per second."""

    def render(self, task: Task) -> Text:
        """Format both numbers."""
        rows = task.fields["rows"]
        return Text(f"{rows:,} rows, {rows / max(task.elapsed or 0.0, 1e-3):,.0f}/s")


def with_progress(log: RequestLog) -> Iterator[Request | BadRow]:
    """The items of a log, with a progress bar on standard error; then what is to be known of it."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        RowsColumn(),
        TimeElapsedColumn(),
    )
    row, bad, first = 0, 0, None
    with Progress(*columns, console=PrintableConsole(stderr=True)) as progress:
        task = progress.add_task(log.name, total=log.size, rows=0)
        try:
            for row, item in enumerate(log, start=1):
                if row % UPDATE_ROWS == 0:
                    progress.update(task, completed=log.position, rows=row)
                if isinstance(item, BadRow):
                    bad, first = bad + 1, first or item
                yield item
        finally:
            progress.update(task, completed=log.position, rows=row)
    if first:
        told = first.told(log.place)
        echo(f"{log.name}: {bad:,} of {row:,} rows cannot be used, the first is {told}", err=True)
    for said in _surprises(log):
        echo(f"{log.name}: {said}", err=True)
    if deeper := log.paths.deeper():
        echo(f"{log.name}: {_advice(log.paths.service, *deeper)}", err=True)


def _surprises(log: RequestLog) -> Iterator[str]:
    """What the log lacks that makes its requests others than they seem."""
    if log.untimed:
        have = "request has" if log.untimed == 1 else "requests have"
        yield f"{log.untimed:,} {have} no time: name its column with --time"
    if log.absent:
        yield f"no row has a column {', none '.join(map(repr, sorted(log.absent)))}"


def _advice(service: str, pattern: str, services: Sequence[str]) -> str:
    """What to do where the first segments of all paths are one."""
    more = f" and {len(services) - MOST_NAMED} more" if len(services) > MOST_NAMED else ""
    return (
        f"all requests are of one service, {service}, though their paths differ further on:"
        f" --service-from {quote(pattern)} would give {', '.join(services[:MOST_NAMED])}{more}"
    )
