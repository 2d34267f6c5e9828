"""The rows that stages keep for a pool: explicit MessagePack behind a version byte."""

from __future__ import annotations

import json
from typing import Any

from msgspec import DecodeError, msgpack

__all__ = ["from_row", "to_row"]

PACKED = 0xC1  # second byte; neither JSON, as rows were before, nor MessagePack begins with it
_encode = msgpack.Encoder(enc_hook=lambda number: number.item()).encode  # NumPy's numbers


def to_row(version: int, value: Any) -> bytes:
    """The bytes of a row: its version, the byte C1, then MessagePack."""
    return bytes((version, PACKED)) + _encode(value)


def from_row(data: bytes, versions: range) -> tuple[int, Any]:
    """The version and value of a row.

    Raises
    ------
    ValueError
        The bytes are empty, of a version not in `versions`, or damaged.
    """
    if not data:
        raise ValueError("a state row is empty")
    if data[0] not in versions:
        raise ValueError(f"a state row has version {data[0]}, known are {list(versions)}")
    if data[1:2] != bytes((PACKED,)):
        return data[0], json.loads(data[1:])
    try:
        return data[0], msgpack.decode(data[2:])
    except DecodeError as error:
        raise ValueError(f"a state row is damaged: {error}") from error
