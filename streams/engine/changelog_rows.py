"""What a row of a changelog may be: its size when it is written, its key when it is read."""

from __future__ import annotations

from collections.abc import Iterable

from streams.errors import StateUnreadable

__all__ = ["MOST_ROW_BYTES", "check_sizes", "key_text"]

MOST_ROW_BYTES = 2 << 20  # topics take half as much again


def check_sizes(rows: Iterable[tuple[str, bytes]]) -> None:
    """Refuse rows that the changelog would not take: raises ValueError."""
    for key, data in rows:
        if len(data) > MOST_ROW_BYTES:
            raise ValueError(
                f"the row of {key[:64]!r} has {len(data)} bytes, more than {MOST_ROW_BYTES}"
            )


def key_text(key: bytes) -> str:
    """The key of a row; raises StateUnreadable for one that is not ours."""
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise StateUnreadable.of(repr(key[:64]), "its key is no text") from error
