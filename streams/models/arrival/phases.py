"""Phases of a silence: what a user asks for next depends on which of them it ends in."""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["ANOTHER_DAY", "LATER", "PHASES", "PHASES_MS", "SESSION", "phase_of"]

PHASES_MS = (0, 60_000, 28_800_000)  # when each begins; the last one has no end
PHASES = len(PHASES_MS)
SESSION, LATER, ANOTHER_DAY = range(PHASES)


def phase_of(age_ms: int) -> int:
    """The phase of a silence of this age; below 0 where there was no request before."""
    return bisect_right(PHASES_MS, age_ms) - 1 if age_ms >= 0 else ANOTHER_DAY
