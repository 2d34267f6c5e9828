"""A bound on log lines that say the same again and again."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["MOST_WORDINGS", "LogLimit"]

OURS = "streams."
MOST_ORIGINS = 1_000  # remembered at once
MOST_WORDINGS = 100  # of one line of our source in a span: its words may come from outside


@dataclass(slots=True)
class _Sayings:
    """How often something was said in the current span of time."""

    since_s: float
    count: int = 0


class LogLimit(logging.Filter):
    """Lets through a few warnings of one origin in a span of time, then says how many it kept back.

    Warnings and errors of a library have one origin when they are of one line of its source; of
    ours, when their words are the same too. Of those that differ in words alone there are more.

    Parameters
    ----------
    most
        Records of one origin in a span.
    span_s
        Its length in seconds.
    """

    def __init__(self, most: int = 5, span_s: float = 30.0) -> None:
        super().__init__()
        self._most, self._span_s = most, span_s
        self._said: dict[Hashable, _Sayings] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is let through; the first of a new span says what was kept before."""
        if record.levelno < logging.WARNING:
            return True
        line = record.name, record.pathname, record.lineno
        if not record.name.startswith(OURS):
            return self._lets(record, line, self._most)
        own = self._lets(record, (*line, record.getMessage()), self._most)
        return own and self._lets(record, line, MOST_WORDINGS)

    def _lets(self, record: logging.LogRecord, origin: Hashable, most: int) -> bool:
        said = self._of(origin, record.created)
        if record.created - said.since_s > self._span_s:
            if (kept := said.count - most) > 0:
                record.msg = f"{record.getMessage()} (and {kept} more like it before)"
                record.args = ()
            said.since_s, said.count = record.created, 0
        said.count += 1
        return said.count <= most

    def _of(self, origin: Hashable, now_s: float) -> _Sayings:
        if origin not in self._said and len(self._said) >= MOST_ORIGINS:
            self._said.pop(next(iter(self._said)), None)  # the oldest; threads may race
        return self._said.setdefault(origin, _Sayings(now_s))
