"""Options of the commands that read a request log, and a progress bar for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
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

from streams.adapters.logs.columns import TIME_UNITS, ColumnMapping
from streams.adapters.logs.request_log import BadRow, RequestLog
from streams.cli.console import PrintableConsole
from streams.records import Request

__all__ = ["log_argument", "log_options", "with_progress"]

UPDATE_ROWS = 500  # between updates of the bar

_OPTIONS = (
    click.option("--user", show_envvar=True, help="Column of the user."),
    click.option("--item", "--service", "item", show_envvar=True, help="Column of the service."),
    click.option(
        "--time", show_envvar=True, help="Column of the time; without one, the current time."
    ),
    click.option("--tier", show_envvar=True, help="Column of the tier."),
    click.option("--pool", show_envvar=True, help="Column of the pool."),
    click.option(
        "--parameter",
        "parameters",
        multiple=True,
        show_envvar=True,
        help="Column to keep as a parameter; may be repeated.  [default: all others]",
    ),
    click.option(
        "--time-unit",
        type=click.Choice(["auto", *TIME_UNITS]),
        default="auto",
        show_default=True,
        show_envvar=True,
        help="Unit of the time since the epoch; auto infers it from the magnitude, or reads ISO 8601.",
    ),
    click.option(
        "--limit", type=click.IntRange(min=0), show_envvar=True, help="Maximum number of rows."
    ),
)

log_argument = click.argument("log", metavar="FILE|-")


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a log; it is called with `mapping` and `limit`.

    Columns that no option names are found by their usual names.
    """

    @functools.wraps(command)
    def with_mapping(
        *args: Any,
        user: str | None,
        item: str | None,
        time: str | None,
        tier: str | None,
        pool: str | None,
        parameters: tuple[str, ...],
        time_unit: str,
        **more: Any,
    ) -> Any:
        mapping = ColumnMapping(
            user=user,
            service=item,
            time=time,
            tier=tier,
            pool=pool,
            parameters=parameters or None,
            time_unit=time_unit,
        )
        return command(*args, mapping=mapping, **more)

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
    """The items of a log, with a progress bar on standard error while they are read."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        RowsColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=PrintableConsole(stderr=True)) as progress:
        task = progress.add_task(log.name, total=log.size, rows=0)
        row = 0
        try:
            for row, item in enumerate(log, start=1):
                if row % UPDATE_ROWS == 0:
                    progress.update(task, completed=log.position, rows=row)
                yield item
        finally:
            progress.update(task, completed=log.position, rows=row)
