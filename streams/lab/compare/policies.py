"""Policies without a prediction of users: what to keep warm, from the uses alone."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from itertools import count
from typing import Protocol

from streams.lab.compare.histogram import IdleTimes
from streams.lab.compare.ledger import PolicyLedger
from streams.records.catalog import Constituent

__all__ = [
    "BoundedOracle",
    "GreedyDual",
    "HybridHistogram",
    "KeepAlive",
    "KeepWarmPolicy",
    "OraclePolicy",
    "WindowPolicy",
]

NEVER_MS = 1 << 62
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class KeepWarmPolicy(Protocol):
    """One policy under test."""

    name: str
    parameter: str

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Let time come to `now_ms`."""
        ...

    def used(self, name: str, now_ms: int, next_ms: int, ledger: PolicyLedger) -> None:
        """Note a use of a constituent, warm by now; only an oracle looks at the next one."""
        ...


class WindowPolicy:
    """A policy that says after each use when to have the constituent again, and for how long."""

    name = "windows"
    parameter = ""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, str, bool]] = []  # when, order, constituent, start
        self._order = count()
        self._current: dict[str, set[int]] = {}  # orders that still hold

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """Time until it is to be warm (0: it stays so), and then until it is given up, in ms."""
        raise NotImplementedError

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Start and end what is due."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, order, name, start = heapq.heappop(self._due)
            if order in self._current.get(name, ()):
                (ledger.start if start else ledger.end)(name, due_ms)

    def used(self, name: str, now_ms: int, next_ms: int, ledger: PolicyLedger) -> None:
        """Plan anew from this use on."""
        before_ms, keep_ms = self.window(name, now_ms, next_ms)
        self._current[name] = set()
        if before_ms > 0:
            ledger.end(name, now_ms)
            self._plan(now_ms + before_ms, name, start=True)
        self._plan(now_ms + before_ms + keep_ms, name, start=False)

    def _plan(self, due_ms: int, name: str, *, start: bool) -> None:
        order = next(self._order)
        self._current[name].add(order)
        heapq.heappush(self._due, (due_ms, order, name, start))


class KeepAlive(WindowPolicy):
    """Keep for a fixed time after the last use: 0 is no keep-alive, None always warm."""

    def __init__(self, keep_ms: int | None) -> None:
        super().__init__()
        self.name = {0: "no keep-alive", None: "always warm"}.get(keep_ms, "keep-alive")
        self.parameter = "" if not keep_ms else f"{keep_ms / MINUTE_MS:g} min"
        self._keep_ms = NEVER_MS if keep_ms is None else keep_ms

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """Always the same."""
        del name, now_ms, next_ms
        return 0, self._keep_ms


class HybridHistogram(WindowPolicy):
    """Pre-warm and keep-alive windows from a histogram of each constituent's idle times.

    Shahrad et al., Serverless in the Wild, ATC'20, section 4.2: bins of a minute, windows from
    the 5th and the 99th percentile with a margin of 10 %, and the whole range kept warm where
    the histogram is not representative. Its ARIMA for idle times beyond the range, 0.6 % of
    invocations there, is left out: the range is kept then.
    """

    name = "hybrid histogram"

    def __init__(self, range_ms: int = 4 * HOUR_MS) -> None:
        super().__init__()
        self.parameter = f"{range_ms / HOUR_MS:g} h"
        self._range_ms = range_ms
        self._idle: dict[str, IdleTimes] = {}
        self._last: dict[str, int] = {}

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """From the idle times so far."""
        del next_ms
        idle = self._idle.setdefault(name, IdleTimes(self._range_ms // MINUTE_MS))
        if name in self._last:
            idle.add((now_ms - self._last[name]) // MINUTE_MS)
        self._last[name] = now_ms
        if not idle.representative:
            return 0, self._range_ms
        before_ms = int(idle.percentile(0.05) * MINUTE_MS * 0.9)
        until_ms = int((idle.percentile(0.99) + 1) * MINUTE_MS * 1.1)
        return before_ms, max(MINUTE_MS, until_ms - before_ms)


class OraclePolicy(WindowPolicy):
    """Knows the next use: keeps through gaps up to a limit, gives up at once before longer ones.

    No policy without pre-warming has fewer cold starts for its warm time when all cost the same.
    """

    name = "oracle"

    def __init__(self, limit_ms: int) -> None:
        super().__init__()
        self.parameter = f"{limit_ms / MINUTE_MS:g} min"
        self._limit_ms = limit_ms

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """Exactly to the next use, or not at all."""
        del name
        gap_ms = next_ms - now_ms
        return 0, gap_ms + 1 if gap_ms <= self._limit_ms else 0


class GreedyDual:
    """Keep whatever fits in so much memory; the least worth keeping goes first.

    Fuerst and Sharma, FaasCache, ASPLOS'21, section 4.1: priority = clock + frequency x
    cold-start time / memory, where the clock is the priority of the last one evicted. A start
    may count for some time beside what it lasts.
    """

    name = "greedy-dual"

    def __init__(self, memory_mib: float, start_ms: int = 0) -> None:
        self.parameter = f"{memory_mib / 1024:g} GiB"
        self._memory = memory_mib
        self._start_ms = start_ms
        self._clock = 0.0
        self._uses: dict[str, int] = {}
        self._priority: dict[str, float] = {}

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Time alone changes nothing."""

    def used(self, name: str, now_ms: int, next_ms: int, ledger: PolicyLedger) -> None:
        """Make room for it, or for nothing when it is too large."""
        del next_ms
        if name not in ledger.constituents:
            return
        known = ledger.constituents[name]
        size = _size(known)
        self._priority.pop(name, None)
        while self._priority and self._held(ledger.constituents) + size > self._memory:
            self._evict(now_ms, ledger)
        if size > self._memory:
            ledger.end(name, now_ms)
            return
        self._uses[name] = self._uses.get(name, 0) + 1
        cost_ms = known.warm_up_ms + self._start_ms
        self._priority[name] = self._clock + self._uses[name] * cost_ms / size

    def _held(self, constituents: Mapping[str, Constituent]) -> float:
        return sum(_size(constituents[name]) for name in self._priority)

    def _evict(self, now_ms: int, ledger: PolicyLedger) -> None:
        name = min(self._priority, key=lambda n: (self._priority[n], n))
        self._clock = self._priority.pop(name)
        self._uses.pop(name, None)
        ledger.end(name, now_ms)


class BoundedOracle:
    """Knows the next use: of what does not fit, what saves least for its memory until then goes.

    A bound for policies that only choose what to give up; one that also starts ahead may do better.
    """

    name = "oracle"

    def __init__(self, memory_mib: float, start_ms: int = 0) -> None:
        self.parameter = f"{memory_mib / 1024:g} GiB"
        self._memory = memory_mib
        self._start_ms = start_ms
        self._next: dict[str, int] = {}  # of what is warm, when it is used

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Time alone changes nothing."""

    def used(self, name: str, now_ms: int, next_ms: int, ledger: PolicyLedger) -> None:
        """Give up what is worth least, itself perhaps."""
        known = ledger.constituents
        if name in known:
            self._next[name] = next_ms
        while sum(_size(known[held]) for held in self._next) > self._memory:
            least = min(self._next, key=lambda held: (self._worth(held, now_ms, ledger), held))
            del self._next[least]
            ledger.end(least, now_ms)

    def _worth(self, name: str, now_ms: int, ledger: PolicyLedger) -> float:
        known = ledger.constituents[name]
        cost_ms = known.warm_up_ms + self._start_ms
        return cost_ms / _size(known) / max(1, self._next[name] - now_ms)


def _size(constituent: Constituent) -> float:
    return max(1.0, constituent.needs.memory)
