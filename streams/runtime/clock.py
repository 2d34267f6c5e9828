"""The wall clock, for the processes at the border; stages and models get the time as an argument."""

from __future__ import annotations

import time

__all__ = ["wall_ms"]


def wall_ms() -> int:
    """Milliseconds since the epoch, now."""
    return time.time_ns() // 1_000_000
