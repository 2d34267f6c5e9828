"""Counts of what followed a context, shared by all users of a partition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from streams.models.wire import Reader, Writer

__all__ = ["Counts"]


class Counts:
    """Whole-number counts that forget: halved when their sum passes `limit`.

    Idea: whole numbers survive encoding exactly, halving forgets at a constant cost per visit,
    and a bound on the entries (the smallest makes room) bounds the bytes.

    Parameters
    ----------
    limit
        Sum at which all counts are halved; about half of it is the effective memory.
    size
        Most entries.

    Examples
    --------
    >>> counts = Counts(limit=4)
    >>> for item in (7, 7, 7, 8, 8):
    ...     counts.visit(item)
    >>> counts.values, counts.total
    ({7: 1, 8: 1}, 2)
    """

    __slots__ = ("limit", "size", "total", "values")

    def __init__(
        self, limit: int, size: int = 256, values: Mapping[int, int] | None = None
    ) -> None:
        self.limit = limit
        self.size = size
        self.values: dict[int, int] = dict(values or {})
        self.total = sum(self.values.values())

    def visit(self, item: int) -> None:
        """Count one more `item`."""
        if item not in self.values and len(self.values) >= self.size:
            least = min(self.values, key=lambda i: (self.values[i], i))
            self.total -= self.values.pop(least)
        self.values[item] = self.values.get(item, 0) + 1
        self.total += 1
        if self.total > self.limit:
            self.values = {i: n >> 1 for i, n in self.values.items() if n > 1}
            self.total = sum(self.values.values())

    def write(self, out: Writer) -> None:
        """Append these counts."""
        out.uint(self.limit)
        out.uint(self.size)
        out.uint(len(self.values))
        out.uints(self.values)
        out.uints(self.values.values())

    @classmethod
    def read(cls, data: Reader) -> Self:
        """The counts that `write` appended."""
        limit, size, entries = data.uints(3)
        items = data.uints(entries)
        return cls(limit, size, dict(zip(items, data.uints(entries), strict=True)))
