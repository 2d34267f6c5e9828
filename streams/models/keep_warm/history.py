"""When how many instances of a constituent were in use: by the minute for two days, coarser for two weeks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Record, inner, record

__all__ = [
    "CELL_MS", "DAY", "HISTORY", "LEVELS", "NEVER_MS", "PERIODS", "WEEK", "age_of", "in_use", "look_back",
    "occupy", "remember", "top_level",
]  # fmt: skip

CELL_MS = 60_000  # what is warm at the start of a cell stays so until its end
LEVELS = 64  # instances that are told apart
NEVER_MS = -(1 << 60)
DAY, SLOT = 1440, 15  # cells
PERIODS = (
    *(2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720),
    *(DAY, 7 * DAY),
)  # in cells; the last is looked up in slots
WEEK = len(PERIODS) - 1
# Of twice the longest period that is looked up in each, its neighbours, and whole words.
_CELLS = 2 * DAY + 8
_SLOTS = 2 * 7 * DAY // SLOT + 8
_PERIODS = np.array(PERIODS)
Counts = npt.NDArray[np.uint8]

HISTORY = record(
    ends_ms=(np.int64, (LEVELS,)),  # until when at least so many were in use, latest first
    cells=(np.uint8, (_CELLS,)),  # most in use at once in a cell, at its number modulo the length
    slots=(np.uint8, (_SLOTS,)),  # the same of slots of 15 cells
)


@inner
def top_level(history: Record) -> int:
    """The most instances that have ever been in use at once."""
    level = 0
    while level < LEVELS and history.ends_ms[level] > NEVER_MS:
        level += 1
    return level


@inner
def in_use(history: Record, at_ms: int) -> int:
    """The number of instances in use, those that end now not counted."""
    level = 0
    while level < LEVELS and history.ends_ms[level] > at_ms:
        level += 1
    return level


@inner
def occupy(history: Record, level: int, end_ms: int) -> None:
    """Take the instance above `level` others, which are in use, until this time."""
    while level > 0 and history.ends_ms[level - 1] < end_ms:
        history.ends_ms[level] = history.ends_ms[level - 1]
        level -= 1
    history.ends_ms[level] = end_ms


@inner
def age_of(history: Record, level: int, cell: int) -> int:
    """Cells since the last one in which more than `level` were in use; 0 if they are."""
    return int(max(0, cell - (history.ends_ms[level] - 1) // CELL_MS))


@inner
def remember(history: Record, cell: int, peak: int) -> None:
    """Write down the most that were in use at once in a cell; cells come in order."""
    history.cells[cell % _CELLS] = peak
    slot = cell // SLOT % _SLOTS
    if cell % SLOT == 0:
        history.slots[slot] = peak
    else:
        history.slots[slot] = max(history.slots[slot], peak)


@inner
def _around(counts: Counts, place: int, level: int) -> int:
    """2 if more than `level` were in use at a place, 1 if only beside it, else 0."""
    if place < 0:
        place += len(counts)
    if counts[place] > level:
        return 2
    after = place + 1 if place + 1 < len(counts) else 0
    return 1 if counts[place - 1] > level or counts[after] > level else 0


@inner
def look_back(history: Record, level: int, cell: int, seen: Counts) -> None:
    """Fill in for each period whether more than `level` were in use one and two periods ago.

    The number is three times that of one period ago plus that of two periods ago, each 2 if they
    were, 1 if only in a neighbouring cell, and 0 if not.
    """
    place, slot = cell % _CELLS, cell // SLOT % _SLOTS
    for period in range(WEEK):
        ago = _PERIODS[period]
        once = _around(history.cells, place - ago, level)
        seen[period] = 3 * once + _around(history.cells, place - 2 * ago, level)
    ago = _PERIODS[WEEK] // SLOT
    once = _around(history.slots, slot - ago, level)
    seen[WEEK] = 3 * once + _around(history.slots, slot - 2 * ago, level)
