"""Records that could not be used."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DeadLetter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be used, whole, with the reason."""

    topic: str
    partition: int
    offset: int
    stage: str  # who gave up on it
    reason: str
    at_ms: int  # timestamp of the record
    key: bytes | None
    value: bytes | None
