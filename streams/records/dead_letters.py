"""Records that could not be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["KEPT_BYTES", "KEPT_KEY_BYTES", "DeadLetter"]

KEPT_BYTES = 64 * 1024  # of a value
KEPT_KEY_BYTES = 1024
KEPT_REASON = 1_000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be used, with the reason; as much of it as `of` keeps."""

    topic: str
    partition: int
    offset: int
    stage: str  # who gave up on it
    reason: str
    at_ms: int  # timestamp of the record
    key: bytes | None  # its beginning
    value: bytes | None  # its beginning
    # Of the original; 0 and empty from a release that kept records whole, and without a value.
    key_size: int = 0  # bytes
    value_size: int = 0  # bytes
    sha256: str = ""  # of the whole value, in hexadecimal

    @classmethod
    def of(
        cls,
        key: bytes | None,
        value: bytes | None,
        *,
        topic: str,
        partition: int,
        offset: int,
        stage: str,
        reason: str,
        at_ms: int,
    ) -> DeadLetter:
        """The letter of a record, of a bounded size whatever the record has.

        A record may be as large as its topic takes, and a compressed one larger still.
        """
        return cls(
            topic=topic,
            partition=partition,
            offset=offset,
            stage=stage,
            reason=reason[:KEPT_REASON].encode(errors="backslashreplace").decode(),
            at_ms=at_ms,
            key=key and key[:KEPT_KEY_BYTES],
            value=value and value[:KEPT_BYTES],
            key_size=len(key or b""),
            value_size=len(value or b""),
            sha256=_digest(value),
        )

    @property
    def whole(self) -> bool:
        """Whether it holds all of the record."""
        return len(self.key or b"") >= self.key_size and len(self.value or b"") >= self.value_size

    @property
    def size(self) -> int | None:
        """Bytes of the record's whole value; None without one."""
        return None if self.value is None else max(len(self.value), self.value_size)

    def tells_of(self, key: bytes | None, value: bytes | None) -> bool:
        """Whether this is the record that it was made of, as far as key, sizes and hash say."""
        if self.whole and not self.sha256:  # of a release that kept records whole, or no value
            return (key, value) == (self.key, self.value)
        found = key and key[:KEPT_KEY_BYTES], len(key or b""), len(value or b""), _digest(value)
        return found == (self.key, self.key_size, self.value_size, self.sha256)


def _digest(value: bytes | None) -> str:
    return "" if value is None else hashlib.sha256(value).hexdigest()
