"""Spans of event time: how far back a page looks, and in what steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SPANS", "Span", "TimeSteps"]

MINUTE, HOUR = 60_000, 3_600_000


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time that can be chosen."""

    name: str
    about: str
    length_ms: int
    step_ms: int  # of a chart


SPANS: Mapping[str, Span] = {
    span.name: span
    for span in (
        Span("1h", "hour", HOUR, MINUTE),
        Span("6h", "6 hours", 6 * HOUR, 5 * MINUTE),
        Span("24h", "24 hours", 24 * HOUR, 20 * MINUTE),
        Span("7d", "7 days", 7 * 24 * HOUR, 2 * HOUR),
    )
}


@dataclass(frozen=True, slots=True)
class TimeSteps:
    """A span that ends at a time, in whole steps; the last one is under way."""

    from_ms: int
    now_ms: int
    step_ms: int

    @classmethod
    def of(cls, span: Span, now_ms: int) -> TimeSteps:
        """The steps of a span up to now."""
        first_ms = now_ms - span.length_ms
        return cls(first_ms - first_ms % span.step_ms, now_ms, span.step_ms)

    @property
    def starts(self) -> range:
        """When each begins."""
        return range(self.from_ms, self.now_ms + 1, self.step_ms)

    @property
    def hours(self) -> float:
        """Their length together."""
        return (self.now_ms - self.from_ms) / HOUR

    def place(self, at_ms: int) -> int:
        """The number of the step that a time is in."""
        return (at_ms - self.from_ms) // self.step_ms
