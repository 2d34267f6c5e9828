"""Which requests of a user were learnt: short hashes of the latest, and a time for all before."""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Self

from streams.models.state_bytes import StateReader, StateWriter

__all__ = ["RecentRequests", "digest_of"]

_DIGEST = 4  # bytes of a hash
_TIMES = Struct("<qq")
_HALF = _TIMES.size + 16 * _DIGEST  # bytes with half of the hashes
_MOST = _TIMES.size + 32 * _DIGEST  # bytes with all of them


class RecentRequests:
    """Refuses a request that was learnt before, or may have been.

    Idea: the hashes of the last 16 to 31 requests are kept. When there are 32 the older half is
    dropped, and with it goes the user's time as it was then: a request from before that time may
    have been among those dropped.

    Guarantees: no request is taken twice, unless a user has more than 16 at one instant. One that
    comes later than 16 others with a later time may be refused although it is new. One of 2^32
    others has the same hash.
    """

    __slots__ = ("_data",)

    def __init__(self, since_ms: int = -1) -> None:
        # As written, since most profiles are read and written more often than they are asked: the
        # user's time after what was dropped, that after the older half, and the hashes.
        self._data = _TIMES.pack(since_ms, since_ms)

    def take(self, digest: bytes, at_ms: int, latest_ms: int) -> bool:
        """Whether a request is new; from now on it is not.

        Parameters
        ----------
        digest
            See `digest_of`.
        at_ms
            Its time.
        latest_ms
            The latest time of this user so far.
        """
        data = self._data
        since_ms, middle_ms = _TIMES.unpack_from(data)
        if (at_ms <= since_ms and at_ms < latest_ms) or _has(data, digest):
            return False
        data += digest
        if len(data) == _HALF:
            data = _TIMES.pack(since_ms, max(at_ms, latest_ms)) + data[_TIMES.size :]
        elif len(data) == _MOST:
            data = _TIMES.pack(middle_ms, max(at_ms, latest_ms)) + data[_HALF:]
        self._data = data
        return True

    def write(self, out: StateWriter) -> None:
        """Append these."""
        out.blob(self._data)

    @classmethod
    def read(cls, data: StateReader) -> Self:
        """Those that `write` appended."""
        found = cls()
        found._data = data.blob()
        size = len(found._data) - _TIMES.size
        if size < 0 or size % _DIGEST or len(found._data) >= _MOST:
            raise ValueError(f"{len(found._data)} bytes are no requests that were learnt last")
        return found


def digest_of(request_id: str, service: str) -> bytes:
    """The short hash of a request; the same id for another service is another request."""
    return zlib.crc32(f"{request_id}\0{service}".encode()).to_bytes(_DIGEST, "little")


def _has(data: bytes, digest: bytes) -> bool:
    at = data.find(digest, _TIMES.size)
    while at % _DIGEST and at > 0:  # it lies across two others
        at = data.find(digest, at + 1)
    return at > 0
