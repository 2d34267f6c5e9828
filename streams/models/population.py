"""What the users of a partition have in common, as rows of its state."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.models.counts import Counts
from streams.models.evidence import SHARED_ORDERS
from streams.models.history import FIRST, History
from streams.models.returns import Returns
from streams.models.vocabulary import Vocabulary

__all__ = ["Population", "State", "pace_of"]

State = MutableMapping[str, Any]
Floats = npt.NDArray[np.float32]

_NAMES = "\x00names"
_RETURNS = "\x00returns"
_NOVELTY = "\x00novelty"
_POPULAR = ("\x00c0", "\x00first")  # of all requests, of first uses
_BUCKETS = 16_381  # rows that the contexts of one order are hashed to; prime
_WINDOW = 200  # requests that popularity remembers
_ENTRIES = 64  # most followers of a shared context
_FADE = np.float32(0.9999)  # of novelty, at each request
_EMPTY_NOVELTY = np.array([1.0, 1.0, 2.0, 0.0], np.float32)


class Population:
    """Counts that all users of a partition share, in small rows: only those touched change.

    Parameters
    ----------
    state
        The partition's state; keys here begin with a zero character.
    """

    __slots__ = ("names", "novelty", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.names: Vocabulary = state.get(_NAMES) or Vocabulary()
        # first uses by anyone, first uses by a user, requests, number of the latest service + 1
        self.novelty: Floats = state.get(_NOVELTY, _EMPTY_NOVELTY)

    def keys(self, history: History, pace: int, *, arrival: bool) -> list[str]:
        """Rows of the counts for each shared member, in the members' order."""
        one, two, *_ = past = history.keys(SHARED_ORDERS)
        latest = int(self.novelty[3]) if arrival else one
        keys = [_POPULAR[0]]
        keys += [
            f"\x00c{order}/{key % _BUCKETS:x}"
            for order, key in zip(SHARED_ORDERS, past, strict=True)
        ]
        keys.append(f"\x00pace/{(two << 8 | pace) % _BUCKETS:x}")
        keys.append(f"\x00stream/{(one << 16 | latest) % _BUCKETS:x}")
        keys += [_POPULAR[1], f"\x00first/{one:x}"]
        return keys

    def counts(self, keys: Sequence[str]) -> list[Counts | None]:
        """Those rows, None where nothing was counted."""
        return [self.state.get(key) for key in keys]

    def returns(self) -> Returns:
        """How users come back to services."""
        return self.state.get(_RETURNS) or Returns()

    def unseen(self) -> tuple[float, float]:
        """Probability that the next service is new to all, and that a first use is."""
        new, first, requests, _ = self.novelty.tolist()
        return min(new / requests, 0.5), min(new / max(first, 1.0), 0.9)

    def learn(self, keys: Sequence[str], history: History, service: str) -> int:
        """Take in that the user of this history asked for `service`; its number."""
        new = self.names.find(service) is None
        item = self.names.number(service)
        if new:
            self.state[_NAMES] = self.names
        kind = history.kind(item)
        for key in keys if kind == FIRST else keys[:-2]:
            counts = self.state.get(key)
            if counts is None:
                counts = Counts(_WINDOW, 256) if key in _POPULAR else Counts(60_000, _ENTRIES)
            counts.visit(item)
            self.state[key] = counts
        if history.items:
            self.state[_RETURNS] = returns = self.returns()
            returns.learn_one(history, item, len(self.names))
        novelty = self.novelty * _FADE
        novelty += (new, kind == FIRST, 1.0, 0.0)
        novelty[3] = item + 1
        self.state[_NOVELTY] = self.novelty = novelty
        return item


def pace_of(pace: int, gap_ms: int) -> int:
    """The last two gaps as one number: each in factors of four from a second, four bits."""
    bucket = min(max(gap_ms // 1000, 1).bit_length() - 1 >> 1, 14) + 1
    return (pace << 4 | bucket) & 0xFF
