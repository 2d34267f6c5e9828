"""Which requests of a user were learnt: short hashes of the latest, and a time for all before."""

from __future__ import annotations

import zlib
from typing import Self

from streams.models.state_bytes import StateReader, StateWriter

__all__ = ["RecentRequests", "digest_of"]

_DIGEST = 4  # bytes of a hash
_MOST = 32 * _DIGEST  # bytes of all hashes
_HALF = _MOST // 2


class RecentRequests:
    """Refuses a request that was learnt before, or may have been.

    Idea: the hashes of the last 16 to 31 requests are kept. When there are 32 the older half is
    dropped, and with it goes the user's time as it was then: a request from before that time may
    have been among those dropped.

    Guarantees: no request is taken twice, unless a user has more than 16 at one instant. One that
    comes later than 16 others with a later time may be refused although it is new. One of 2^32
    others has the same hash.
    """

    __slots__ = ("_hashes", "_middle_ms", "_since_ms")

    def __init__(self, since_ms: int = -1) -> None:
        self._hashes = b""
        self._middle_ms = since_ms  # the user's time after the older half
        self._since_ms = since_ms  # the user's time after what was dropped

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
        hashes = self._hashes
        if (at_ms <= self._since_ms and at_ms < latest_ms) or _has(hashes, digest):
            return False
        self._hashes = hashes = hashes + digest
        if len(hashes) == _HALF:
            self._middle_ms = max(at_ms, latest_ms)
        elif len(hashes) == _MOST:
            self._hashes = hashes[_HALF:]
            self._since_ms, self._middle_ms = self._middle_ms, max(at_ms, latest_ms)
        return True

    def write(self, out: StateWriter) -> None:
        """Append these."""
        out.uints((self._since_ms + 1, self._middle_ms + 1))
        out.blob(self._hashes)

    @classmethod
    def read(cls, data: StateReader) -> Self:
        """Those that `write` appended."""
        found = cls()
        found._since_ms, found._middle_ms = (ms - 1 for ms in data.uints(2))
        found._hashes = data.blob()
        if len(found._hashes) % _DIGEST or len(found._hashes) >= _MOST:
            raise ValueError(f"{len(found._hashes)} bytes are no hashes of requests")
        return found


def digest_of(request_id: str, service: str) -> bytes:
    """The short hash of a request; the same id for another service is another request."""
    return zlib.crc32(f"{request_id}\0{service}".encode()).to_bytes(_DIGEST, "little")


def _has(hashes: bytes, digest: bytes) -> bool:
    at = hashes.find(digest)
    while at % _DIGEST and at > 0:  # it lies across two others
        at = hashes.find(digest, at + 1)
    return at >= 0
