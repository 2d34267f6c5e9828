"""The parameters of a request as a hash: a context of the request that follows."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Self

from streams.models.state_bytes import StateReader, StateWriter

__all__ = ["RequestParameters"]

_NAMES, _VALUES = 16, 64  # most that are kept apart; a name with more values is left out


class RequestParameters:
    """The parameters that requests come with, as far as they have few different values.

    Idea: how a request was made is a context of what follows, in which counts can be kept only
    when it comes again. A number of a case or free text never does, and would hide the rest.

    Guarantees: bounded, whatever users send; the hash does not depend on their order.

    Examples
    --------
    >>> parameters = RequestParameters()
    >>> for case in range(100):
    ...     _ = parameters.learn({"case": str(case), "state": "begun" if case % 2 else "ended"})
    >>> hashed = parameters.hash_of({"case": "7", "state": "begun"})
    >>> hashed == parameters.hash_of({"state": "begun", "case": "11"})
    True
    >>> hashed == parameters.hash_of({"state": "ended", "case": "7"})
    False

    References
    ----------
    Weinberger et al. (2009), Feature hashing for large scale multitask learning, ICML.
    """

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, set[int]] = {}  # checksums; an empty set: too many

    def learn(self, parameters: Mapping[str, str]) -> bool:
        """Take in the parameters of a request; whether any of it was new."""
        changed = False
        for name, value in parameters.items():
            seen = self._values.get(name)
            if seen is None and len(self._values) < _NAMES:
                self._values[name] = {_checksum(value)}
            elif seen and (number := _checksum(value)) not in seen:
                seen.add(number)
                if len(seen) > _VALUES:
                    seen.clear()
            else:
                continue
            changed = True
        return changed

    def hash_of(self, parameters: Mapping[str, str]) -> int:
        """The hash of those with few values; 0 when there are none."""
        pairs = [f"{name}\0{value}" for name, value in parameters.items() if self._values.get(name)]
        return _checksum("\0".join(sorted(pairs))) if pairs else 0

    def write(self, out: StateWriter) -> None:
        """Append this row."""
        out.uint(len(self._values))
        for name, values in self._values.items():
            out.text(name)
            out.uint(len(values))
            out.uints(sorted(values))

    @classmethod
    def read(cls, data: StateReader) -> Self:
        """The row that `write` appended."""
        row = cls()
        for _ in range(data.uint()):
            name = data.text()
            row._values[name] = set(data.uints(data.uint()))
        return row


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode())
