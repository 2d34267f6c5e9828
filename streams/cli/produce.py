"""`foremesh produce`: send a request log to Kafka."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from streams.adapters.kafka.clients import connect
from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import BadRow, RequestLog
from streams.adapters.logs.times import LAST_MS
from streams.cli import pass_settings
from streams.cli.amounts import AmountParam
from streams.cli.console import echo
from streams.cli.log_options import log_argument, log_options, with_progress
from streams.cli.log_producer import MARK_S, LogProducer, Pause
from streams.cli.produce_wait import wait_for_flow
from streams.errors import LogUnreadable, TopicsMissing
from streams.pipeline.event_time.presence import is_present
from streams.records import Request
from streams.runtime.clock import wall_ms
from streams.settings import Settings

__all__ = ["command"]

ANSWER_S = 30.0
DAY_MS = 86_400_000
OVER_MS = 3_600_000  # since the last request of a log
INTERRUPTED = 130  # exit code after SIGINT, as in shells


@click.command()
@log_argument
@log_options
@click.option(
    "--speed",
    type=AmountParam(min=0, min_open=True),
    show_envvar=True,
    help="Keep the gaps between requests, divided by this.  [default: as fast as possible]",
)
@click.option(
    "--shift-to-now",
    is_flag=True,
    show_envvar=True,
    help="Send it as if it happened now: times from now on, gaps kept or divided by --speed, new"
    " ids.",
)
@click.option(
    "--wait",
    is_flag=True,
    show_envvar=True,
    help="Wait until the workers, and the sink if it runs, have taken all there is.",
)
@pass_settings
def command(
    settings: Settings,
    *,
    log: str,
    mapping: ColumnMapping,
    limit: int | None,
    speed: float | None,
    shift_to_now: bool,
    wait: bool,
) -> None:
    """Send a request log to Kafka: an access log, CSV, JSON and others, also compressed.

    Sending it twice duplicates nothing, and nothing is learnt twice: the id of a request follows from
    its line. What is older than the last requests that are remembered of its user is not learnt. Rows
    that are no request go to the dead letters, with the reason. Predictions from an old log have
    expired before they are used: run the worker with FOREMESH_CLOCK=event, or use --shift-to-now.
    """
    partitions = check_topics_exist(settings)
    rows = with_progress(RequestLog(log, mapping, limit=limit))
    items: Iterable[Request | BadRow | Pause] = rows
    if shift_to_now:
        items = paced(shifted(rows, wall_ms(), speed or 1.0), 1.0)
    elif speed:
        items = paced(rows, speed)
    for number in (signal.SIGINT, signal.SIGTERM):  # also when a shell ignores it
        signal.signal(number, signal.default_int_handler)
    try:
        with LogProducer(settings, source_of(log), partitions) as sender:
            for item in items:
                sender.send(item)
        if not shift_to_now and settings.clock == "wall":
            _hint(settings, sender.at_ms)
        if wait:
            wait_for_flow(settings, recorded=not shift_to_now)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _hint(settings: Settings, latest_ms: int) -> None:
    """Say how a log is taken that is over, unless what takes it runs."""
    if 0 < latest_ms < wall_ms() - OVER_MS and not is_present(settings):
        echo(
            "Its times are past: run `FOREMESH_CLOCK=event foremesh worker`, or use --shift-to-now",
            err=True,
        )


def source_of(log: str) -> str:
    """The name of a log in dead letters; every run over standard input has its own."""
    if log == "-":
        return f"stdin at {datetime.now(UTC).isoformat(timespec='milliseconds')}"
    return Path(log).name


def check_topics_exist(settings: Settings) -> int:
    """The partitions of `requests`; `TopicsMissing` unless both topics that are written exist."""
    existing = connect(settings).list_topics(timeout=ANSWER_S).topics
    for name in map(settings.topic, ("requests", "dead-letters")):
        if name not in existing:
            raise TopicsMissing(f"topic {name} is missing: run `foremesh topics create`")
    return len(existing[settings.topic("requests")].partitions)


def shifted(
    items: Iterable[Request | BadRow], now_ms: int, speed: float
) -> Iterator[Request | BadRow]:
    """The same requests as if the first came now and the gaps were divided by `speed`.

    Raises
    ------
    LogUnreadable
        One would come before 1970 or after the year 9999.
    """
    first_ms: int | None = None
    for item in items:
        if isinstance(item, Request):
            first_ms = item.at_ms if first_ms is None else first_ms
            at_ms = now_ms + (item.at_ms - first_ms) / speed
            if not 0 <= at_ms <= LAST_MS:
                raise LogUnreadable(
                    f"A request comes {(item.at_ms - first_ms) / DAY_MS:,.0f} days after the first,"
                    " too far to be shifted: check --time-unit and --speed"
                )
            yield replace(item, request_id=f"{item.request_id}-{now_ms}", at_ms=round(at_ms))
        else:
            yield item


def paced(items: Iterable[Request | BadRow], speed: float) -> Iterator[Request | BadRow | Pause]:
    """The same items, each when it is due: event time passes `speed` times as fast."""
    began, first_ms = time.monotonic(), None
    for item in items:
        if isinstance(item, Request):
            first_ms = item.at_ms if first_ms is None else first_ms
            due = began + (item.at_ms - first_ms) / 1000 / speed
            while (left := due - time.monotonic()) > 0:
                yield Pause()
                time.sleep(min(left, MARK_S))
        yield item
