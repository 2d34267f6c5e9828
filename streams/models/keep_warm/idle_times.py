"""The hybrid histogram: windows of pre-warming and keep-alive from the idle times of a constituent."""

from __future__ import annotations

import math

import numpy as np

from streams.models.keep_warm.history import CELL_MS
from streams.models.kernels import Record, inner, record

__all__ = ["IDLE_TIMES", "count_idle", "within_window"]

_BINS = 240  # of a cell each: the range of four hours
_FEW = 4  # fewest idle times of a histogram that represents them
_CONCENTRATED = 2.0  # coefficient of variation of the bins, from which on it does
_MOST = 1024  # idle times counted; then all counts are halved

IDLE_TIMES = record(
    bins=(np.uint16, (_BINS,)),
    beyond=np.int64,
    before_ms=np.int64,  # idle time from which on an instance is kept, and until when
    until_ms=np.int64,
)


@inner
def within_window(idle: Record, idle_ms: int) -> bool:
    """Whether an instance is kept in the cell that begins after this idle time."""
    until_ms = idle.until_ms if idle.until_ms > 0 else _BINS * CELL_MS
    return idle.before_ms < idle_ms + CELL_MS and idle_ms < until_ms


@inner
def _quantile(idle: Record, total: int, share: float) -> int:
    found, below = 0, int(idle.bins[0])
    while below < share * total:
        found += 1
        below += idle.bins[found]
    return found


@inner
def _halve(idle: Record) -> None:
    for place in range(_BINS):
        idle.bins[place] //= 2
    idle.beyond //= 2


@inner
def count_idle(idle: Record, idle_ms: int) -> None:
    """Count an idle time that has ended in a use.

    References
    ----------
    Shahrad et al. (2020), Serverless in the wild, USENIX ATC, section 4.2: windows from the 5th
    and the 99th percentile with a margin of 10 %; the whole range where the histogram is not
    representative. Its ARIMA for longer idle times is left out.
    """
    place = idle_ms // CELL_MS
    if place < _BINS:
        idle.bins[place] += np.uint16(1)
    else:
        idle.beyond += 1
    total, squares = 0, 0.0
    for place in range(_BINS):
        total += int(idle.bins[place])
        squares += float(idle.bins[place]) ** 2
    mean = total / _BINS
    spread = math.sqrt(max(0.0, squares / _BINS - mean * mean))
    if total < _FEW or idle.beyond > total or spread <= _CONCENTRATED * mean:
        idle.before_ms, idle.until_ms = 0, _BINS * CELL_MS
    else:
        idle.before_ms = int(_quantile(idle, total, 0.05) * CELL_MS * 0.9)
        idle.until_ms = int((_quantile(idle, total, 0.99) + 1) * CELL_MS * 1.1)
    if total + idle.beyond >= _MOST:
        _halve(idle)
