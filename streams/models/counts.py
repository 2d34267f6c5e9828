"""Counts of what followed a context, shared by all users of a partition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.kernels import inner
from streams.models.state_bytes import packed

__all__ = ["Row", "empty", "grown", "total", "trimmed", "visit"]

_ENTRY = 4  # bytes
Row = npt.NDArray[np.uint16]  # entries x (number, count); those that count 0 stand last


def empty() -> Row:
    """A row that counted nothing."""
    return np.zeros((0, 2), np.uint16)


@inner
def visit(row: Row, item: int, limit: int, size: int) -> bool:
    """Count one more `item`; False when there is no room and the row may still grow.

    Idea: whole numbers survive encoding exactly, halving forgets at a constant cost per visit,
    and a bound on the entries (the smallest makes room) bounds the bytes.

    Parameters
    ----------
    row
        Changed in place.
    item
        What came.
    limit
        Sum at which all counts are halved; about half of it is the effective memory.
    size
        Most entries.
    """
    whole, place, least = 1, -1, 0
    for at in range(len(row)):
        whole += row[at, 1]
        if place < 0 and (row[at, 0] == item or row[at, 1] == 0):
            place = at
        if row[at, 1] < row[least, 1] or (
            row[at, 1] == row[least, 1] and row[at, 0] < row[least, 0]
        ):
            least = at
    if place < 0:
        if len(row) < size:
            return False
        whole -= row[least, 1]
        place = least
    if row[place, 0] != item:
        row[place, 0], row[place, 1] = item, 0
    row[place, 1] += 1
    if whole > limit:
        _halve(row)
    return True


@inner
def _halve(row: Row) -> None:
    left = 0
    for at in range(len(row)):
        half = row[at, 1] >> 1
        number = row[at, 0]
        row[at, 1] = 0
        if half:
            row[left, 0] = number
            row[left, 1] = half
            left += 1


@inner
def total(row: Row) -> int:
    """Sum of the counts."""
    whole = 0
    for at in range(len(row)):
        whole += row[at, 1]
    return whole


def grown(row: Row, size: int) -> Row:
    """A copy with room for more entries, at most `size` in all."""
    more = np.zeros((min(max(2 * len(row), 4), size), 2), np.uint16)
    more[: len(row)] = row
    return more


def trimmed(row: Row) -> bytes:
    """The entries that count something, as bytes."""
    data = packed(row)
    end = len(data)
    while end and not (data[end - 1] or data[end - 2]):  # the count of the last entry
        end -= _ENTRY
    return data[:end]
