"""What the users of a partition have in common."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Self

import numpy as np

from streams.models.counts import Row, empty, trimmed
from streams.models.next_request.mixing import BUCKETS, SETS, M, new_newton
from streams.models.next_request.profile import Profile
from streams.models.next_request.recency import CELLS
from streams.models.state_bytes import Reader, Writer, packed

__all__ = ["Population", "State", "context_keys", "order_keys", "pace_of"]

State = MutableMapping[str, Any]

_BUCKETS = 16_381  # rows that the contexts of one order are hashed to; prime
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_FIRST_DAY, _SATURDAY = 3, 5  # the first of January 1970 was a Thursday; Monday is 0


class Population:
    """What every request changes, as one row of the state: small, and written once a save."""

    __slots__ = ("first", "gaps", "newton", "novelty", "popular", "sets", "shifts", "tally")

    def __init__(self) -> None:
        self.popular: Row = empty()  # of all requests
        self.first: Row = empty()  # of first uses
        self.gaps: Row = empty()
        self.tally = np.zeros(CELLS, np.uint32)  # how users come back
        # first uses by anyone, first uses by a user, requests, number of the latest service + 1
        self.novelty = np.array([1.0, 1.0, 2.0, 0.0])
        self.sets = np.zeros((SETS, M + 1), np.float32)  # weights by context
        self.newton = new_newton()  # weights for all, and their curvature
        self.shifts = np.zeros(BUCKETS)  # of the log-odds of the top probability

    def write(self, out: Writer) -> None:
        """Append this row."""
        for name in self.__slots__:
            value = getattr(self, name)
            out.blob(trimmed(value) if value.dtype == np.uint16 else packed(value))

    @classmethod
    def read(cls, data: Reader) -> Self:
        """The row that `write` appended."""
        row = cls()
        for name in cls.__slots__:
            setattr(row, name, data.array_like(getattr(row, name)))
        return row


def context_keys(profile: Profile, latest: int) -> list[str]:
    """Rows of the counts after what this user did last, in the members' order.

    Parameters
    ----------
    latest
        Number of the last service of all users, plus 1.
    """
    one, two, three, four, five = profile.tail
    pair = two << 16 | one
    triple = three << 32 | pair
    return [
        f"\x00c1/{one:x}",
        f"\x00c2/{pair % _BUCKETS:x}",
        f"\x00c3/{triple % _BUCKETS:x}",
        f"\x00c5/{(five << 64 | four << 48 | triple) % _BUCKETS:x}",
        f"\x00pace/{(pair << 8 | profile.pace) % _BUCKETS:x}",
        f"\x00stream/{(one << 16 | latest) % _BUCKETS:x}",
        f"\x00hour/{(one << 16 | hour_of(profile.last_ms)) % _BUCKETS:x}",
        f"\x00cohort/{(one << 16 | profile.first) % _BUCKETS:x}",
        f"\x00told/{(one << 32 | profile.told) % _BUCKETS:x}",
        f"\x00first/{one:x}",
    ]


def hour_of(at_ms: int) -> int:
    """The hour of the day, UTC; those of weekends apart."""
    day, rest = divmod(at_ms, _DAY_MS)
    return rest // _HOUR_MS + (24 if (day + _FIRST_DAY) % 7 >= _SATURDAY else 0)


def order_keys(two: int, one: int) -> tuple[str, str]:
    """Of those rows the ones after two services and after the later alone, as `context_keys`."""
    return f"\x00c2/{(two << 16 | one) % _BUCKETS:x}", f"\x00c1/{one:x}"


def pace_of(pace: int, gap_ms: int) -> int:
    """The last two gaps as one number: each in factors of four from a second, four bits."""
    bucket = min(max(gap_ms // 1000, 1).bit_length() - 1 >> 1, 14) + 1
    return (pace << 4 | bucket) & 0xFF
