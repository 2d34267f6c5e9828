"""What the users of a partition have in common, as rows of its state."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.models.counts import Counts
from streams.models.evidence import SHARED_ORDERS, STATES, Evidence
from streams.models.history import FIRST, History
from streams.models.vocabulary import Vocabulary

__all__ = ["Population", "State", "pace_of"]

State = MutableMapping[str, Any]
Floats = npt.NDArray[np.float32]

_NAMES = "\x00names"
_RECURRENCE = "\x00recurrence"
_KINDS = "\x00kinds"
_NOVELTY = "\x00novelty"
_BUCKETS = 16_381  # rows that the contexts of one order are hashed to; prime
_WINDOW = 200  # requests that popularity remembers
_ENTRIES = 64  # most followers of a shared context
_FADE = np.float32(0.9999)  # of recurrence, kinds and novelty, at each request
_EMPTY_KINDS = np.full((8, 8, 3), 0.25, np.float32)
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
        keys = ["\x00c0"]
        keys += [
            f"\x00c{order}/{key % _BUCKETS:x}"
            for order, key in zip(SHARED_ORDERS, past, strict=True)
        ]
        keys.append(f"\x00pace/{(two << 8 | pace) % _BUCKETS:x}")
        keys.append(f"\x00stream/{(one << 16 | latest) % _BUCKETS:x}")
        keys.append(f"\x00first/{one:x}")
        return keys

    def counts(self, keys: Sequence[str]) -> list[Counts | None]:
        """Those rows, None where nothing was counted."""
        return [self.state.get(key) for key in keys]

    def recurrence(self) -> Floats:
        """Requests and chances by state of a service for its user."""
        found: Floats | None = self.state.get(_RECURRENCE)
        shape = (2, STATES)
        return np.zeros(shape, np.float32) if found is None else found.reshape(shape)

    def kinds(self, history: History) -> list[float]:
        """Probability that this user repeats, returns to another service, or tries a first."""
        cell = self._kinds()[_cell(history)]
        whole = float(cell.sum())
        seen = sum(history.kinds) + 4.0
        return [
            (own + 4.0 * float(c) / whole) / seen
            for own, c in zip(history.kinds, cell, strict=True)
        ]

    def unseen(self) -> tuple[float, float]:
        """Probability that the next service is new to all, and that a first use is."""
        new, first, requests, _ = self.novelty.tolist()
        return min(new / requests, 0.5), min(new / max(first, 1.0), 0.9)

    def learn(
        self, keys: Sequence[str], history: History, service: str, evidence: Evidence | None
    ) -> int:
        """Take in that the user of this history asked for `service`; its number."""
        new = self.names.find(service) is None
        item = self.names.number(service)
        if new:
            self.state[_NAMES] = self.names
        kind = history.kind(item)
        for key in keys if kind == FIRST else keys[:-1]:
            counts = self.state.get(key)
            if counts is None:
                counts = Counts(_WINDOW, 256) if key == keys[0] else Counts(60_000, _ENTRIES)
            counts.visit(item)
            self.state[key] = counts
        if evidence is not None:
            self._come_back(history, evidence, item, kind)
        novelty = self.novelty * _FADE
        novelty += (new, kind == FIRST, 1.0, 0.0)
        novelty[3] = item + 1
        self.state[_NOVELTY] = self.novelty = novelty
        return item

    def _come_back(self, history: History, evidence: Evidence, item: int, kind: int) -> None:
        recurrence = self.recurrence() * _FADE
        recurrence[1] += np.bincount(evidence.states, minlength=STATES)
        recurrence[1, 0] += evidence.columns.others
        column = evidence.columns.of.get(item)
        recurrence[0, 0 if column is None else evidence.states[column]] += 1
        self.state[_RECURRENCE] = recurrence
        kinds = self._kinds().copy()
        cell = _cell(history)
        kinds[cell] *= _FADE
        kinds[(*cell, kind)] += 1
        self.state[_KINDS] = kinds

    def _kinds(self) -> Floats:
        found: Floats | None = self.state.get(_KINDS)
        return _EMPTY_KINDS if found is None else found.reshape(_EMPTY_KINDS.shape)


def pace_of(pace: int, gap_ms: int) -> int:
    """The last two gaps as one number: each in factors of four from a second, four bits."""
    bucket = min(max(gap_ms // 1000, 1).bit_length() - 1 >> 1, 14) + 1
    return (pace << 4 | bucket) & 0xFF


def _cell(history: History) -> tuple[int, int]:
    return min(history.run, 7), min(len(history.seen), 7)
