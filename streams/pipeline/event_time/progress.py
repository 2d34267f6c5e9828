"""How far a flow in event time has come, for people."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streams.pipeline.event_time.kafka_record import KafkaRecord
from streams.pipeline.event_time.requests import RequestReader
from streams.records import DeadLetter, Outcome, Record, Request, Result
from streams.stages.base import MAX_MS

__all__ = ["FlowProgress"]

_log = logging.getLogger(__name__)

SHOW_S = 5.0


@dataclass(slots=True)
class _Tally:
    """What was taken and made since the flow began, or had nothing left."""

    began_s: float = field(default_factory=time.monotonic)
    taken: int = 0  # records
    requests: int = 0
    at_ms: int = 0  # the latest of them
    results: Counter[Result] = field(default_factory=Counter)
    refused: int = 0  # dead letters

    def __str__(self) -> str:
        rate = self.requests / max(time.monotonic() - self.began_s, 1e-3)
        shown = datetime.fromtimestamp(min(self.at_ms, MAX_MS) / 1000, UTC)
        return f"{self.requests:,} requests, {rate:,.0f} a second, up to {shown:%F %T}"


class FlowProgress:
    """Counts what a flow takes and makes, and tells it in the log of the process.

    While there is something to take it tells every few seconds how much is done; when nothing is
    left, what came of it.
    """

    def __init__(self) -> None:
        self._tally = _Tally()
        self._shown_s = time.monotonic()

    def took(self, received: KafkaRecord) -> None:
        """Count a record that was taken."""
        if not self._tally.taken:
            self._tally.began_s = time.monotonic()
        self._tally.taken += 1
        if isinstance(request := received.readable, Request):
            self._tally.requests += 1
            self._tally.at_ms = max(self._tally.at_ms, request.at_ms)

    def made(self, record: Record) -> None:
        """Count a record that was made."""
        if isinstance(record, Outcome):
            self._tally.results[record.result] += 1
        self._tally.refused += isinstance(record, DeadLetter)

    def show(self, reader: RequestReader) -> None:
        """Tell how far it is, if it is time to."""
        now_s = time.monotonic()
        if not self._tally.requests or (reader.busy and now_s - self._shown_s < SHOW_S):
            return
        self._shown_s = now_s
        if left := reader.left():
            done = self._tally.taken / (self._tally.taken + left)
            _log.info(
                "%.0f %% of what is there: %s", 100 * done, self._tally,
                extra={"action": "progress"},
            )  # fmt: skip
        else:
            self._tell(reader)
            self._tally = _Tally()

    def _tell(self, reader: RequestReader) -> None:
        names = sorted({mark.source for mark in reader.logs.values() if mark.complete})
        reader.logs.clear()
        results, refused = self._tally.results, self._tally.refused
        _log.info(
            "%s: %s; %s found all warm, %s a part, %s nothing%s; waiting for more",
            f"{' and '.join(names)}, complete" if names else "Nothing is left",
            self._tally,
            *(f"{results[each]:,}" for each in (Result.HIT, Result.PARTIAL, Result.MISS)),
            f", {refused:,} are dead letters (`foremesh dead-letters list`)" if refused else "",
            extra={"action": "log_through"},
        )
