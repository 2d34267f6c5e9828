"""Names as small numbers, in order of first appearance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from streams.models.state_bytes import StateReader, StateWriter

__all__ = ["MOST", "ServiceVocabulary"]

MOST = 60_000  # names a vocabulary holds: two bytes each in a history, with room to spare
MOST_BYTES = 900 * 1024  # of all its names: a row stays below 1 MiB


class ServiceVocabulary:
    """The services of a partition, numbered as they appear.

    Parameters
    ----------
    names
        Names known already, in order.

    Examples
    --------
    >>> names = ServiceVocabulary(["pay"])
    >>> names.number("receipt"), names.number("pay"), names.names
    (1, 0, ['pay', 'receipt'])
    """

    __slots__ = ("_left", "_numbers", "names")

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = list(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._left = MOST_BYTES - sum(map(_size, self.names))

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int | None:
        """The number of a name, None for one that is new."""
        return self._numbers.get(name)

    def number(self, name: str) -> int:
        """The number of a name, given now if it is new; all beyond the most share the last."""
        number = self._numbers.get(name)
        if number is not None:
            return number
        size = _size(name)
        if self.names and (len(self.names) == MOST or size > self._left):
            return len(self.names) - 1
        self._left -= size
        self._numbers[name] = number = len(self.names)
        self.names.append(name)
        return number

    def write(self, out: StateWriter) -> None:
        """Append the names."""
        out.uint(len(self.names))
        for name in self.names:
            out.text(name)

    @classmethod
    def read(cls, data: StateReader) -> Self:
        """The vocabulary that `write` appended."""
        return cls(data.text() for _ in range(data.uint()))


def _size(name: str) -> int:
    """Bytes of a name in a row, with those of its length."""
    return len(name.encode()) + 3
