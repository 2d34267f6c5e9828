"""The row of a changelog that says which input its other rows include."""

from __future__ import annotations

import json
from collections.abc import Mapping

from streams.errors import StateUnreadable

__all__ = ["POSITION", "position_of", "position_row"]

POSITION = b"\x00\x00position"  # its key
FORM = 1  # its version


def position_row(position: Mapping[str, int], topics: Mapping[str, str]) -> bytes:
    """The row of these offsets, by topic, and of the ids of these topics."""
    return json.dumps({"form": FORM, "next": position, "topics": topics}, sort_keys=True).encode()


def position_of(value: bytes | None) -> tuple[dict[str, int], dict[str, str]]:
    """The offsets and ids of a row.

    Raises
    ------
    StateUnreadable
        A newer release wrote it, or it is damaged.
    """
    text = value or b'{"form": 1, "next": {}}'
    try:
        row = json.loads(text)
        form = row["form"]
        if form == FORM:
            return row["next"], row.get("topics", {})  # earlier releases kept no ids
    except (ValueError, TypeError, KeyError) as error:
        raise StateUnreadable.of("the changelog", f"its position is {text[:64]!r}") from error
    raise StateUnreadable.of("the changelog", f"its position has form {form}")
