"""Rows of counts: of what followed a context, or of gaps; bounded, and halved to forget."""

from __future__ import annotations

import numpy as np

from streams.models.kernels import Records, array_of, inner, record
from streams.models.state_bytes import packed

__all__ = ["COUNT", "ROW", "empty", "grown", "total", "trimmed", "visit"]

COUNT = record(key=np.uint16, count=np.uint16)  # the key is a service, or a bucket of gaps
ROW = array_of(COUNT)  # entries that count 0 stand last


def empty() -> Records:
    """A row that counted nothing."""
    return np.zeros(0, COUNT)


@inner
def visit(row: Records, key: int, limit: int, size: int) -> bool:
    """Count one more `key`; False when there is no room and the row may still grow.

    Idea: whole numbers survive encoding exactly, halving forgets at a constant cost per visit,
    and a bound on the entries (the smallest makes room) bounds the bytes.

    Parameters
    ----------
    row
        Changed in place.
    key
        What came.
    limit
        Sum at which all counts are halved; about half of it is the effective memory.
    size
        Most entries.
    """
    whole, place, least = 1, -1, 0
    for at in range(len(row)):
        whole += row[at].count
        if place < 0 and (row[at].key == key or row[at].count == 0):
            place = at
        if row[at].count < row[least].count or (
            row[at].count == row[least].count and row[at].key < row[least].key
        ):
            least = at
    if place < 0:
        if len(row) < size:
            return False
        whole -= row[least].count
        place = least
    if row[place].key != key:
        row[place].key, row[place].count = key, 0
    row[place].count += 1
    if whole > limit:
        _halve(row)
    return True


@inner
def _halve(row: Records) -> None:
    left = 0
    for at in range(len(row)):
        half = row[at].count >> 1
        key = row[at].key
        row[at].count = 0
        if half:
            row[left].key = key
            row[left].count = half
            left += 1


@inner
def total(row: Records) -> int:
    """Sum of the counts."""
    whole = 0
    for at in range(len(row)):
        whole += row[at].count
    return whole


def grown(row: Records, size: int) -> Records:
    """A copy with room for more entries, at most `size` in all."""
    room = min(max(2 * len(row), 4), size)
    return np.frombuffer(bytearray(row.tobytes().ljust(room * COUNT.itemsize, b"\0")), COUNT)


def trimmed(row: Records) -> bytes:
    """The entries that count something, as bytes."""
    data = packed(row)
    end = len(data)
    while end and not (data[end - 1] or data[end - 2]):  # the count of the last entry
        end -= COUNT.itemsize
    return data[:end]
