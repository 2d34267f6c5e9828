"""`foremesh report`: hits, misses, latency, time saved and wasted, from PostgreSQL."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from streams.adapters.postgres.queries import HistoryRange, read_history
from streams.cli import pass_settings
from streams.cli.console import echo
from streams.cli.durations import DurationParam
from streams.cli.moments import MomentParam
from streams.cli.output import json_option, tell
from streams.cli.output_file import OutputFile, write_whole
from streams.settings import Settings

__all__ = ["command"]


@click.command()
@click.option("--pool", show_envvar=True, help="Of this pool only.")
@click.option(
    "--from",
    "from_ms",
    type=MomentParam(),
    envvar="FOREMESH_REPORT_FROM",
    show_envvar=True,
    help="Requests from this time on: 2026-01-31, 2026-01-31T12:00.",
)
@click.option("--until", type=MomentParam(), show_envvar=True, help="Requests before this time.")
@click.option(
    "--since",
    type=DurationParam(),
    show_envvar=True,
    help="In place of --from: so long before the newest outcome, as 12h, 30d.",
)
@json_option(
    "from, to, and pools by name: requests, hit_rate, partial_rate, miss_rate, refused, saved_ms,"
    " waited_ms, latency_ms, latency_ms_by_result, services, tiers, instances (warm_s, used_s, wasted_s)"
)
@click.option(
    "--figure",
    type=OutputFile(".png", ".svg", ".pdf"),
    show_envvar=True,
    help="Draw hit rate and latency into this file, .png, .svg or .pdf.",
)
@pass_settings
def command(
    settings: Settings,
    *,
    pool: str | None,
    from_ms: int | None,
    until: int | None,
    since: int | None,
    output: str,
    figure: Path | None,
) -> None:
    """Report hits and misses, latency, time saved and instance-seconds wasted.

    Times are those of the requests, as a log or the gateway says, in UTC unless they have an
    offset. Several logs on one stack are told apart by pool or by time; what instances cost is
    counted within the same time.
    """
    from streams.report.summary import summarise  # noqa: PLC0415  # keep --help instant
    from streams.report.tables import as_json, tables  # noqa: PLC0415

    part = HistoryRange(pool=pool, from_ms=from_ms, until_ms=until, last_ms=since)
    _check(part)
    history = read_history(settings.postgres, part)
    summary = summarise(
        history.outcomes,
        history.instances,
        history.commands,
        clocks=history.clocks,
        from_ms=history.from_ms,
        until_ms=until,
    )
    if not summary.pools and part != HistoryRange():
        echo("no request or instance is known of this pool and time", err=True)
        sys.exit(1)
    if figure is not None:
        from streams.report.figure import draw  # noqa: PLC0415  # matplotlib loads slowly

        write_whole(figure, draw(summary, figure.suffix.lower()))
    tell(output, as_json(summary), *tables(summary))


def _check(part: HistoryRange) -> None:
    if part.from_ms is None:
        return
    if part.last_ms is not None:
        raise click.UsageError("give either --from or --since")
    if part.until_ms is not None and part.from_ms >= part.until_ms:
        raise click.UsageError("--from has to be earlier than --until")
