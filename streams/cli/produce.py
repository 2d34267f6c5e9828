"""`foremesh produce`: send a request log to Kafka."""

from __future__ import annotations

import signal
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import click

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import connect, producer_config
from streams.adapters.kafka.log_place import LogPlace
from streams.adapters.logs.columns import ColumnMapping
from streams.adapters.logs.request_log import BadRow, RequestLog
from streams.cli import pass_settings
from streams.cli.log_options import log_argument, log_options, with_progress
from streams.cli.produce_wait import wait_for_flow
from streams.engine.producer import CheckedProducer
from streams.errors import DeliveryFailed, TopicsMissing
from streams.flow.topology import key_of
from streams.records import DeadLetter, Request, Watermark
from streams.runtime.clock import wall_ms
from streams.settings import Settings

__all__ = ["command"]

ANSWER_S = 30.0
FLUSH_ROWS = 10_000
MARK_S = 1.0  # between watermarks
PAUSED_S = 0.1  # the same while nothing is sent
INTERRUPTED = 130  # exit code after SIGINT, as in shells
# Bounds on what is in flight between two flushes.
BOUNDED = {"queue.buffering.max.messages": FLUSH_ROWS, "queue.buffering.max.kbytes": 64 * 1024}


@click.command()
@log_argument
@log_options
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
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
    """Send a request log to Kafka: CSV or JSON lines, also gzipped.

    Sending it twice duplicates nothing: the id of a request follows from its line. Rows
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
        if wait:
            wait_for_flow(settings, recorded=not shift_to_now)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


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


class Pause:
    """Nothing to send for a while."""


def letter_of(row: BadRow, source: str) -> DeadLetter:
    """The dead letter of a row that is no request."""
    return DeadLetter(
        topic=source,
        partition=0,
        offset=row.line,
        stage="produce",
        reason=row.reason,
        at_ms=wall_ms(),
        key=None,
        value=row.data,
    )


@dataclass
class LogProducer:
    """Sends the rows of a log and counts what is delivered.

    Each request says its place in the log; every second each partition is told, by a watermark,
    how far the log has come, and at the end that it is complete.
    """

    settings: Settings
    source: str  # stands for the topic in dead letters
    partitions: int  # of `requests`
    began: float = field(default_factory=time.monotonic)
    sent: int = 0  # requests
    rejected: int = 0  # bad rows
    delivered: int = 0  # requests that Kafka has confirmed
    log: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    at_ms: int = 0  # latest time of a request so far
    marked_s: float = 0.0  # when the last watermark was sent (monotonic)

    def __post_init__(self) -> None:
        self.producer = CheckedProducer({**producer_config(self.settings), **BOUNDED})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if not isinstance(error, DeliveryFailed):
                if self.sent:
                    self._mark(complete=True)
                self._flush()
        finally:
            click.echo(self.summary())

    def summary(self) -> str:
        """One line with the numbers of requests and rows."""
        rate = self.delivered / max(time.monotonic() - self.began, 1e-3)
        unsure = self.sent - self.delivered
        return (
            f"{self.delivered:,} requests delivered ({rate:,.0f}/s), "
            + (f"{unsure:,} not for certain, " if unsure else "")
            + f"{self.rejected:,} rows rejected"
            + (": see `foremesh dead-letters list`" if self.rejected else "")
        )

    def send(self, item: Request | BadRow | Pause) -> None:
        """Send one row; flush after every `FLUSH_ROWS`."""
        match item:
            case Request():
                self._send(item)
            case BadRow():
                self._reject(item)
            case Pause() if time.monotonic() - self.marked_s > PAUSED_S:
                self._mark()
            case Pause():
                pass
        if (self.sent + self.rejected) % FLUSH_ROWS == 0:
            self._flush()

    def _send(self, request: Request) -> None:
        if not self.sent:
            self.at_ms = request.at_ms
            self._mark()
            self._flush()  # on every partition before any request is on one
        self.sent, self.at_ms = self.sent + 1, max(self.at_ms, request.at_ms)
        place = LogPlace(self.at_ms, self.sent, self.log)
        name, data = self.settings.topic("requests"), codec.encode(request)
        self.producer.send(name, key_of(request), data, headers=place.headers)
        if time.monotonic() - self.marked_s > MARK_S:
            self._mark()

    def _mark(self, *, complete: bool = False) -> None:
        """Tell every partition how far the log has come."""
        self.marked_s = time.monotonic()
        mark = Watermark(
            log=self.log, source=self.source, at_ms=self.at_ms, number=self.sent, complete=complete
        )
        name, data = self.settings.topic("requests"), codec.encode(mark)
        for partition in range(self.partitions):
            self.producer.send(name, key_of(mark), data, partition=partition)

    def _reject(self, row: BadRow) -> None:
        self.rejected += 1
        letter = letter_of(row, self.source)
        self.producer.send(self.settings.topic("dead-letters"), None, codec.encode(letter))

    def _flush(self) -> None:
        self.producer.flush(self.settings.delivery_ms / 1000)
        self.delivered = self.sent


def shifted(
    items: Iterable[Request | BadRow], now_ms: int, speed: float
) -> Iterator[Request | BadRow]:
    """The same requests as if the first came now and the gaps were divided by `speed`."""
    first_ms: int | None = None
    for item in items:
        if isinstance(item, Request):
            first_ms = item.at_ms if first_ms is None else first_ms
            yield replace(
                item,
                request_id=f"{item.request_id}-{now_ms}",
                at_ms=now_ms + round((item.at_ms - first_ms) / speed),
            )
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
