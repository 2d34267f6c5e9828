"""The small rows that stages keep for a pool: explicit JSON behind a version byte."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["from_row", "to_row"]


def to_row(version: int, value: Any) -> bytes:
    """The bytes of a row: its version, then compact JSON."""
    return bytes((version,)) + json.dumps(value, separators=(",", ":")).encode()


def from_row(data: bytes, versions: range) -> tuple[int, Any]:
    """The version and value of a row.

    Raises
    ------
    ValueError
        The bytes are empty, of a version not in `versions`, or no JSON.
    """
    if not data:
        raise ValueError("a state row is empty")
    if data[0] not in versions:
        raise ValueError(f"a state row has version {data[0]}, known are {list(versions)}")
    return data[0], json.loads(data[1:])
