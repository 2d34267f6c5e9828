"""What one user asked for, and what followed each context of it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

__all__ = ["FIRST", "ORDERS", "Followers", "History"]

ORDERS = (0, 1, 2, 3, 5)  # contexts counted, in requests
FIRST = 2  # the kind of a request for a service that the user never asked for
_LONGEST = ORDERS[-1]
_MASK = [(1 << 16 * order) - 1 for order in range(_LONGEST + 1)]


class Followers:
    """Decayed counts of what followed one context.

    A visit multiplies all earlier counts by the decay; kept as growing increments, so that a
    visit costs one addition. The history is bounded, so the increments are as well.
    """

    __slots__ = ("counts", "step", "total", "visits")

    def __init__(self) -> None:
        self.counts: dict[int, float] = {}
        self.total = 0.0
        self.step = 1.0
        self.visits = 0

    def visit(self, item: int, growth: float) -> None:
        """Count `item`; `growth` is one over the decay."""
        self.step *= growth
        self.counts[item] = self.counts.get(item, 0.0) + self.step
        self.total += self.step
        self.visits += 1


class History:
    """A user's last requests in order, and what followed their contexts of order 0, 1, 2, 3, 5.

    Idea: the sequence is the state and the tables are derived from it, so the bytes are two
    per request and at most `4 * keep` in all. When twice `keep` requests are held, the older
    half is dropped and the tables are built anew: amortised, one more visit per request.

    Guarantees: two histories that took in the same requests since the same trim are equal, so a
    history read back from its bytes goes on exactly as the one that was written.

    Parameters
    ----------
    items
        Requests so far, as numbers below 65,535.
    keep
        Requests kept at least, once there were as many.
    decay
        Weight of a context's earlier visits after another one.

    Examples
    --------
    >>> history = History([1, 2, 1, 2, 1])
    >>> sorted(history.contexts()[1].counts)  # after a 1
    [2]
    >>> history.run, len(history.seen)
    (1, 2)

    References
    ----------
    Cleary & Witten (1984), Data compression using adaptive coding and partial string matching,
    IEEE Trans. Communications 32(4).
    """

    __slots__ = ("_growth", "_keep", "_past", "_tables", "_visits", "items", "kinds", "run", "seen")

    def __init__(self, items: Iterable[int] = (), keep: int = 512, decay: float = 0.98) -> None:
        self._growth = 1.0 / decay
        self._keep = keep
        self._restart()
        for item in items:
            self._take(item)

    def __len__(self) -> int:
        return len(self.items)

    def append(self, item: int) -> None:
        """Take in the user's next request."""
        if len(self.items) >= 2 * self._keep:
            kept = self.items[-self._keep :]
            self._restart()
            for old in kept:
                self._take(old)
        self._take(item)

    def contexts(self) -> list[Followers]:
        """What followed the current contexts of `ORDERS`, shortest first, as far as known."""
        found = []
        get, past, length = self._tables.get, self._past, len(self.items)
        for order in ORDERS:
            followers = get((past & _MASK[order]) << 3 | order) if order <= length else None
            if followers is None:
                break
            found.append(followers)
        return found

    def keys(self, orders: Sequence[int]) -> list[int]:
        """The last requests as one number for each order; shorter pasts count as padded."""
        past = self._past
        return [past & _MASK[order] for order in orders]

    def _restart(self) -> None:
        self.items: array[int] = array("H")
        self.seen: dict[int, int] = {}  # item -> position of its last request << 16 | requests
        self.run = 0  # length of the current run of repeats
        self.kinds = [0.0, 0.0, 0.0]  # decayed: repeats, returns to another, first uses
        self._past = 0  # the last requests, 16 bits each, the latest lowest
        self._tables: dict[int, Followers] = {}

    def _take(self, item: int) -> None:
        tables, growth, past, length = self._tables, self._growth, self._past, len(self.items)
        for order in ORDERS:
            if order > length:
                break
            key = (past & _MASK[order]) << 3 | order
            followers = tables.get(key)
            if followers is None:
                tables[key] = followers = Followers()
            followers.visit(item, growth)
        if length:
            decay = 1.0 / growth
            self.kinds = [count * decay for count in self.kinds]
            self.kinds[self.kind(item)] += 1.0
        self.run = self.run + 1 if length and item == self.items[-1] else 1
        self.seen[item] = length << 16 | (self.seen.get(item, 0) & 0xFFFF) + 1
        self._past = (past << 16 | item + 1) & _MASK[_LONGEST]
        self.items.append(item)

    def kind(self, item: int) -> int:
        """What asking for `item` would be: 0 a repeat, 1 a return to another, 2 a first use."""
        if item not in self.seen:
            return FIRST
        return 0 if item == self.items[-1] else 1
