"""What one user asked for, and what followed each context of it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

__all__ = ["Followers", "History"]


class Followers:
    """Decayed counts of what followed one context.

    A visit multiplies all earlier counts by `decay`; kept as growing increments, so that a
    visit costs one addition. The history is bounded, so the increments are as well.
    """

    __slots__ = ("counts", "step", "total")

    def __init__(self) -> None:
        self.counts: dict[int, float] = {}
        self.total = 0.0
        self.step = 1.0

    def visit(self, item: int, growth: float) -> None:
        """Count `item`; `growth` is one over the decay."""
        self.step *= growth
        self.counts[item] = self.counts.get(item, 0.0) + self.step
        self.total += self.step

    @property
    def weight(self) -> float:
        """Effective number of visits."""
        return self.total / self.step


class History:
    """A user's last requests in order, and the contexts of order 0 to `orders` in them.

    Idea: the sequence is the state and the tables are derived from it, so the bytes are two
    per request, and at most `4 * keep` in all. When twice `keep` requests are held, the older
    half is dropped and the tables are built anew: amortised, one more visit per request.

    Parameters
    ----------
    orders
        Longest context, in requests.
    keep
        Requests kept at least, once there were as many.
    decay
        Weight of a context's earlier visits after another one.

    Examples
    --------
    >>> history = History(orders=2)
    >>> for item in (1, 2, 1, 2, 1):
    ...     history.append(item)
    >>> sorted(history.contexts()[1].counts)  # after a 1
    [2]

    References
    ----------
    Cleary & Witten (1984), Data compression using adaptive coding and partial string matching.
    """

    __slots__ = ("_growth", "_keep", "_keys", "_tables", "items")

    def __init__(
        self, orders: int = 5, keep: int = 512, decay: float = 0.98, items: Iterable[int] = ()
    ) -> None:
        self.items: array[int] = array("H")
        self._growth = 1.0 / decay
        self._keep = keep
        self._keys = [0] * (orders + 1)
        self._tables: dict[int, Followers] = {}
        for item in items:
            self._visit(item)

    def __len__(self) -> int:
        return len(self.items)

    def append(self, item: int) -> None:
        """Take in the user's next request."""
        if len(self.items) >= 2 * self._keep:
            kept = self.items[-self._keep :]
            self.items = array("H")
            self._keys = [0] * len(self._keys)
            self._tables = {}
            for old in kept:
                self._visit(old)
        self._visit(item)

    def contexts(self) -> list[Followers]:
        """What followed the current context of order 0, 1, ... as far as it was seen before."""
        found = []
        for key in self._keys[: len(self.items) + 1]:
            followers = self._tables.get(key)
            if followers is None:
                break
            found.append(followers)
        return found

    def _visit(self, item: int) -> None:
        keys, tables, growth = self._keys, self._tables, self._growth
        for key in keys[: len(self.items) + 1]:
            followers = tables.get(key)
            if followers is None:
                tables[key] = followers = Followers()
            followers.visit(item, growth)
        self.items.append(item)
        for order in range(len(keys) - 1, 0, -1):
            keys[order] = 0 if len(self.items) < order else keys[order - 1] << 16 | item + 1
