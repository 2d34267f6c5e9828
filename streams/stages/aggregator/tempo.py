"""The tempo of the hour: observed requests after long silences, against expected ones."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DemandTempo"]

HALF_LIFE_MS = 3_600_000  # of the counts of observed and of expected requests
DOUBT = 10.0  # pseudo-requests that shrink the ratio of the two towards 1
MOST = 4.0  # the ratio is at most this and at least its reciprocal


@dataclass(frozen=True, slots=True)
class DemandTempo:
    """The ratio of observed to expected requests: it follows the hour, the day, unforeseen waves.

    Users return from pauses together, at certain hours or for a common cause.
    """

    now_ms: int = 0
    expected: float = 0.0
    asked: float = 0.0

    def after(self, now_ms: int, rate: float, asked: int = 0) -> DemandTempo:
        """The tempo at a later time, with what has come since.

        Parameters
        ----------
        rate
            Expected requests per ms since the last call.
        asked
            Requests that came at `now_ms`.
        """
        passed_ms = max(0, now_ms - self.now_ms)
        fade = 0.5 ** (passed_ms / HALF_LIFE_MS)
        # The first call only sets the time.
        expected = self.expected * fade + (rate * passed_ms if self.now_ms else 0.0)
        return DemandTempo(max(now_ms, self.now_ms), expected, self.asked * fade + asked)

    @property
    def ratio(self) -> float:
        """Observed requests divided by expected ones, shrunk and bounded."""
        return min(MOST, max(1 / MOST, (self.asked + DOUBT) / (self.expected + DOUBT)))
