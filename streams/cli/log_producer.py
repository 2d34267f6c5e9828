"""The producer of a request log: places, watermarks, and a count of what is delivered."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Self

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import producer_config
from streams.adapters.kafka.log_place import LogPlace
from streams.adapters.logs.request_log import BadRow
from streams.cli.console import echo
from streams.engine.producer import CheckedProducer
from streams.errors import DeliveryFailed
from streams.flow.topology import key_of
from streams.records import DeadLetter, Request, Watermark
from streams.runtime.clock import wall_ms
from streams.settings import Settings
from streams.tracing.opening import tracer_of

__all__ = ["MARK_S", "LogProducer", "Pause", "letter_of"]

FLUSH_ROWS = 10_000
MARK_S = 1.0  # between watermarks
PAUSED_S = 0.1  # the same while nothing is sent
# Bounds on what is in flight between two flushes.
BOUNDED = {"queue.buffering.max.messages": FLUSH_ROWS, "queue.buffering.max.kbytes": 64 * 1024}


class Pause:
    """Nothing to send for a while."""


def letter_of(row: BadRow, source: str) -> DeadLetter:
    """The dead letter of a row that is no request."""
    return DeadLetter.of(
        None,
        row.data,
        topic=source,
        partition=0,
        offset=row.line,
        stage="produce",
        reason=row.reason,
        at_ms=wall_ms(),
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
    sent: int = 0  # requests, one that an interrupt kept from Kafka included
    queued: int = 0  # of these, on their way to Kafka
    rejected: int = 0  # bad rows
    delivered: int = 0  # requests that Kafka has confirmed
    log: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    at_ms: int = 0  # latest time of a request so far
    marked_s: float = 0.0  # when the last watermark was sent (monotonic)

    def __post_init__(self) -> None:
        self.producer = CheckedProducer({**producer_config(self.settings), **BOUNDED})
        self.tracer = tracer_of(self.settings, "produce")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if not isinstance(error, DeliveryFailed):
                if self.sent:
                    self._mark(complete=True)
                self._flush()
        finally:
            if self.tracer:
                self.tracer.close()
            echo(self.summary())

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
        carried = self.tracer.sending(name, request) if self.tracer else ()
        self.producer.send(name, key_of(request), data, headers=[*place.headers, *carried])
        self.queued += 1
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
        self.delivered = self.queued
