"""The wall clock, for processes that do I/O; stages and models get the time as an argument."""

from __future__ import annotations

import time

__all__ = ["ms_since", "wall_ms"]


def wall_ms() -> int:
    """Return the current time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def ms_since(moment_ms: int) -> int:
    """Return how long ago a moment was; 0 where the clock has been set back since."""
    return max(0, wall_ms() - moment_ms)
