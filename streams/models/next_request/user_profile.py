"""What is remembered of one user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from streams.models.counts import empty, trimmed
from streams.models.drift import no_drift
from streams.models.kernels import Records
from streams.models.next_request.candidates import Items
from streams.models.next_request.mixing import no_weights
from streams.models.next_request.recency import KINDS
from streams.models.recent_requests import RecentRequests
from streams.models.recurrent.network import no_trail
from streams.models.state_bytes import StateReader, StateWriter, packed

__all__ = ["NONE", "ReadWeights", "UserProfile", "read_weights"]

NONE = 0xFFFF  # no service
_TAIL = 5

ReadWeights = Callable[[StateReader], Records]


def read_weights(data: StateReader) -> Records:
    """A vector of weights."""
    return data.array_like(no_weights())


class UserProfile:
    """A user's requests, gaps, own mixture weights, and the drift of their log-loss.

    Idea: the sequence of requests is the state, and the counts of its contexts are made when
    they are asked for; so the bytes are one or two per request. When twice `keep` requests are
    held, the older half is dropped.

    Guarantees: what is read back goes on exactly as what was written.
    """

    __slots__ = (
        "_held",
        "_items",
        "drift",
        "first",
        "gaps",
        "kinds",
        "last_ms",
        "pace",
        "parameter_hash",
        "ranks",
        "recent",
        "tail",
        "trail",
        "weights",
    )

    def __init__(self) -> None:
        self._items = np.zeros(8, np.uint16)
        self._held = 0
        self.tail = [0] * _TAIL  # the last services plus 1, the latest first
        self.first = 0  # number of the first service plus 1
        self.parameter_hash = 0  # of the parameters of the last request
        self.gaps: Records = empty()
        self.kinds = np.zeros(KINDS, np.float32)  # of requests, decayed
        self.weights = no_weights()
        self.last_ms = 0
        self.pace = 0  # the last two gaps, coarsely
        self.ranks = 0  # of the last two realised services: two bits each, 0 was a hit
        self.drift = no_drift()
        self.recent = RecentRequests()
        self.trail: Records = no_trail()  # what the recurrent network remembers

    def __len__(self) -> int:
        return self._held

    @property
    def items(self) -> Items:
        """Items of the services asked for, oldest first."""
        return self._items[: self._held]

    def gap_to(self, at_ms: int) -> int:
        """The time from the last request to this one; -1 if there is none."""
        return max(at_ms - self.last_ms, 0) if self._held else -1

    @property
    def last(self) -> int:
        """The last service, `NONE` before the first request."""
        return (self.tail[0] - 1) & NONE

    def append(self, item: int, keep: int) -> None:
        """Take in the next request; of twice `keep`, the later half is kept."""
        if self._held >= 2 * keep:
            self.forget(keep)
        if self._held == len(self._items):
            self._items = np.concatenate([self._items, np.zeros_like(self._items)])
        self._items[self._held] = item
        self._held += 1
        self.tail = [item + 1, *self.tail[:-1]]
        self.first = self.first or item + 1

    def forget(self, keep: int) -> None:
        """Keep so many of the latest requests only."""
        if keep < self._held:
            self._items = self._items[self._held - keep : self._held].copy()
            self._held = keep

    def write(self, out: StateWriter) -> None:
        """Append this profile."""
        items = packed(self.items)
        low, high = items[::2], items[1::2]
        small = high.count(0) == len(high)
        out.uint(small)
        out.blob(low if small else items)
        out.uints((self.last_ms, self.pace, self.ranks, self.first, self.parameter_hash))
        out.array(self.kinds)
        out.array(self.weights)
        out.blob(trimmed(self.gaps))
        out.array(self.drift)
        self.recent.write(out)
        out.blob(packed(self.trail) if self.trail["length"][0] else b"")

    @classmethod
    def read(cls, data: StateReader, weights: ReadWeights = read_weights) -> Self:
        """The profile that `write` appended.

        Parameters
        ----------
        weights
            Reads those of the experts.
        """
        profile = cls.read_without_trail(data, weights)
        trail = data.array_like(profile.trail[:0])
        if len(trail):
            profile.trail = trail
        return profile

    @classmethod
    def read_without_trail(cls, data: StateReader, weights: ReadWeights) -> Self:
        """The profile of an earlier release, which had no recurrent network."""
        profile = cls._read_learnt(data, weights)
        profile.drift = data.array_like(profile.drift)
        profile.recent = RecentRequests.read(data)
        return profile

    @classmethod
    def read_former(cls, data: StateReader, weights: ReadWeights) -> Self:
        """The profile of an earlier release: gradients that waited for feedback stand at its end.

        Requests were not told apart: any up to its last may have been learnt.
        """
        profile = cls._read_learnt(data, weights)
        for _ in range(data.uint()):
            data.uint()
            data.blob()
        profile.recent = RecentRequests(profile.last_ms)
        return profile

    @classmethod
    def _read_learnt(cls, data: StateReader, weights: ReadWeights) -> Self:
        profile = cls()
        kind = np.uint8 if data.uint() else np.uint16
        profile._items = data.array_like(np.zeros(0, kind)).astype(np.uint16)
        profile._held = len(profile._items)
        latest = profile._items[-_TAIL:].tolist()[::-1]
        profile.tail = [*(item + 1 for item in latest), *profile.tail][:_TAIL]
        if not profile._held:
            profile._items = np.zeros(8, np.uint16)
        profile.last_ms, profile.pace, profile.ranks, profile.first, profile.parameter_hash = (
            data.uints(5)
        )
        profile.kinds = data.array_like(profile.kinds)
        profile.weights = weights(data)
        profile.gaps = data.array_like(profile.gaps)
        return profile
