"""Compact, explicit bytes for state: variable-length integers, text and packed numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "StateReader", "StateWriter", "copied", "packed", "unpacked"]

Array = npt.NDArray[Any]

_LITTLE = sys.byteorder == "little"


def packed(values: Array) -> bytes:
    """The numbers of an array as they are, little endian."""
    return values.tobytes() if _LITTLE else values.byteswap().tobytes()


def unpacked(data: bytes, kind: np.dtype[Any]) -> Array:
    """The array whose bytes `packed` made; it may be written to."""
    array = np.frombuffer(bytearray(data), kind)
    return array if _LITTLE else array.byteswap()


def copied(records: Array) -> Array:
    """A copy of an array of records: as bytes, since NumPy would copy them field by field."""
    return records.view(np.uint8).copy().view(records.dtype)


class StateWriter:
    r"""Bytes under construction.

    Examples
    --------
    >>> out = StateWriter()
    >>> out.uint(300)
    >>> out.text("pay")
    >>> bytes(out.data)
    b'\xac\x02\x03pay'

    References
    ----------
    Unsigned integers are LEB128, as in Protocol Buffers' encoding, "Base 128 Varints".
    """

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def uint(self, value: int) -> None:
        """Append a non-negative integer: 7 bits a byte, low ones first."""
        append = self.data.append
        while value > 0x7F:
            append(value & 0x7F | 0x80)
            value >>= 7
        append(value)

    def uints(self, values: Iterable[int]) -> None:
        """Append several non-negative integers, without their number."""
        append = self.data.append
        for value in values:  # as in `uint`: a call for each would take three times as long
            while value > 0x7F:
                append(value & 0x7F | 0x80)
                value >>= 7  # noqa: PLW2901  # what is left of it
            append(value)

    def blob(self, value: bytes) -> None:
        """Append bytes, their length first."""
        self.uint(len(value))
        self.data += value

    def text(self, value: str) -> None:
        """Append text as UTF-8."""
        self.blob(value.encode())

    def array(self, values: Array) -> None:
        """Append the numbers of an array, their size first."""
        self.blob(packed(values))


class StateReader:
    """Reads what `StateWriter` wrote; raises ValueError where the bytes are not what they should be."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def uint(self) -> int:
        """The next integer."""
        value = shift = 0
        while True:
            if self.at >= len(self.data) or shift > 63:
                raise ValueError(f"state is truncated or damaged at byte {self.at}")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def uints(self, count: int) -> list[int]:
        """The next `count` integers."""
        if count > len(self.data) - self.at:
            raise ValueError(f"state is truncated: {count} numbers expected at byte {self.at}")
        try:
            values, self.at = _uints(self.data, self.at, count)
        except IndexError:
            raise ValueError(f"state is truncated or damaged after byte {self.at}") from None
        return values

    def blob(self) -> bytes:
        """The next bytes."""
        size = self.uint()
        end = self.at + size
        if end > len(self.data):
            raise ValueError(f"state is truncated: {size} bytes expected at byte {self.at}")
        value = self.data[self.at : end]
        self.at = end
        return value

    def text(self) -> str:
        """The next text."""
        return self.blob().decode()

    def array_like(self, like: Array) -> Array:
        """The next array, of the type and shape of this one; of any length where that has 0."""
        array = unpacked(self.blob(), like.dtype)
        if like.ndim > 1:
            array = array.reshape(-1, *like.shape[1:])
        if len(like) and len(array) != len(like):
            raise ValueError(f"state has {len(array)} numbers where {len(like)} belong")
        return array

    def end(self) -> None:
        """Refuse bytes that nobody asked for."""
        if self.at != len(self.data):
            raise ValueError(f"state has {len(self.data) - self.at} bytes too many")


def _uints(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """As `StateReader.uint` reads each, in half the time; and the offset after them."""
    values = []
    for _ in range(count):
        byte = data[at]
        at += 1
        value, shift = byte & 0x7F, 7
        while byte > 0x7F:
            if shift > 63:
                raise IndexError
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
        values.append(value)
    return values, at
