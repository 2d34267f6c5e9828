"""Keep-warm policies that observe uses of constituents and predict nothing of the users."""

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
    "PrewarmingOracle",
    "WindowPolicy",
]

NEVER_MS = 1 << 62
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class KeepWarmPolicy(Protocol):
    """A policy to compare."""

    name: str
    parameter: str

    def begin(self, first_uses: Mapping[str, int]) -> None:
        """Before the log: when each constituent will first be used, which only oracles read."""
        ...

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Advance the clock to `now_ms`."""
        ...

    def used(self, name: str, now_ms: int, next_ms: int, ledger: PolicyLedger) -> None:
        """Observe a use of a constituent, which is warm now; only oracles read `next_ms`."""
        ...


class WindowPolicy:
    """A policy that plans, after each use, the next warm window of the constituent."""

    name = "windows"
    parameter = ""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, str, bool]] = []  # time, plan, constituent, start
        self._numbers = count()  # of the plans
        self._current: dict[str, set[int]] = {}  # constituent -> plans in force

    def begin(self, first_uses: Mapping[str, int]) -> None:
        """Do nothing: there is no use to plan from."""

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """Time until the pre-warm start (0: it stays warm), and the keep-alive after it, in ms."""
        raise NotImplementedError

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Start and end what is due."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, plan, name, start = heapq.heappop(self._due)
            if plan in self._current.get(name, ()):
                (ledger.start if start else ledger.end)(name, due_ms)

    def used(self, name: str, now_ms: int, next_ms: int, ledger: PolicyLedger) -> None:
        """Replace the plan of the constituent by one from this use on."""
        before_ms, keep_ms = self.window(name, now_ms, next_ms)
        if before_ms > 0:
            ledger.end(name, now_ms)
        self._plan_window(name, now_ms, before_ms, keep_ms)

    def _plan_window(self, name: str, now_ms: int, before_ms: int, keep_ms: int) -> None:
        self._current[name] = set()
        if before_ms > 0:
            self._plan(now_ms + before_ms, name, start=True)
        self._plan(now_ms + before_ms + keep_ms, name, start=False)

    def _plan(self, due_ms: int, name: str, *, start: bool) -> None:
        plan = next(self._numbers)
        self._current[name].add(plan)
        heapq.heappush(self._due, (due_ms, plan, name, start))


class KeepAlive(WindowPolicy):
    """Keep warm for a fixed time after the last use; 0 is no keep-alive, None is always warm."""

    def __init__(self, keep_ms: int | None) -> None:
        super().__init__()
        self.name = {0: "no keep-alive", None: "always warm"}.get(keep_ms, "keep-alive")
        self.parameter = "" if not keep_ms else f"{keep_ms / MINUTE_MS:g} min"
        self._keep_ms = NEVER_MS if keep_ms is None else keep_ms

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """The fixed keep-alive."""
        del name, now_ms, next_ms
        return 0, self._keep_ms


class HybridHistogram(WindowPolicy):
    """Pre-warm and keep-alive windows from a histogram of each constituent's idle times.

    Shahrad et al., Serverless in the Wild, ATC'20, section 4.2: bins of a minute, windows from
    the 5th and the 99th percentile with a margin of 10 %, and the whole range kept warm where
    the histogram is not representative. Its ARIMA for idle times beyond the range, 0.6 % of
    invocations there, is left out: the whole range is kept warm instead.
    """

    name = "hybrid histogram"

    def __init__(self, range_ms: int = 4 * HOUR_MS) -> None:
        super().__init__()
        self.parameter = f"{range_ms / HOUR_MS:g} h"
        self._range_ms = range_ms
        self._idle: dict[str, IdleTimes] = {}
        self._last: dict[str, int] = {}

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """The windows that follow from the idle times so far."""
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
    """Knows the next use: keeps warm through gaps up to a limit, ends at once before longer ones.

    When all starts cost the same, no policy without pre-warming has fewer cold starts for the
    same warm time.
    """

    name = "oracle, no pre-warming"

    def __init__(self, limit_ms: int) -> None:
        super().__init__()
        self.parameter = f"{limit_ms / MINUTE_MS:g} min"
        self._limit_ms = limit_ms

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """The gap to the next use, or nothing when it is over the limit."""
        del name
        gap_ms = next_ms - now_ms
        return 0, gap_ms + 1 if gap_ms <= self._limit_ms else 0


class PrewarmingOracle(WindowPolicy):
    """Knows the log: each constituent is warm exactly when a request comes.

    It is kept over a gap that is no longer than a start, and else started in time for the next
    use: no request waits, and no policy of which this holds has less warm time.
    """

    name = "oracle, pre-warming"

    def __init__(self, constituents: Mapping[str, Constituent]) -> None:
        super().__init__()
        self._constituents = constituents

    def begin(self, first_uses: Mapping[str, int]) -> None:
        """Plan the first start of each constituent."""
        for name, use_ms in first_uses.items():
            start_ms = self._start_ms(name)
            self._plan_window(name, use_ms - start_ms - 1, 1, start_ms + 1)

    def window(self, name: str, now_ms: int, next_ms: int) -> tuple[int, int]:
        """The gap to the next use if it is short, or the start before that use."""
        if next_ms == NEVER_MS:
            return 0, 0
        gap_ms, start_ms = next_ms - now_ms, self._start_ms(name)
        return max(0, gap_ms - start_ms), min(gap_ms, start_ms) + 1

    def _start_ms(self, name: str) -> int:
        known = self._constituents.get(name)
        return known.warm_up_ms if known else 0


class GreedyDual:
    """Keep what fits into a memory limit; evict the lowest priority first.

    Fuerst and Sharma, FaasCache, ASPLOS'21, section 4.1: priority = clock + frequency x
    cold-start time / memory, where the clock is the priority of the last one evicted.
    """

    name = "greedy-dual"

    def __init__(self, memory_mib: float) -> None:
        self.parameter = f"{memory_mib / 1024:g} GiB"
        self._memory = memory_mib
        self._clock = 0.0
        self._uses: dict[str, int] = {}
        self._priority: dict[str, float] = {}

    def begin(self, first_uses: Mapping[str, int]) -> None:
        """Do nothing: the memory is empty."""

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Do nothing: time alone evicts nothing."""

    def used(self, name: str, now_ms: int, next_ms: int, ledger: PolicyLedger) -> None:
        """Make room for the constituent; end it when it exceeds the limit by itself."""
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
        cost_ms = known.warm_up_ms
        self._priority[name] = self._clock + self._uses[name] * cost_ms / size

    def _held(self, constituents: Mapping[str, Constituent]) -> float:
        return sum(_size(constituents[name]) for name in self._priority)

    def _evict(self, now_ms: int, ledger: PolicyLedger) -> None:
        name = min(self._priority, key=lambda n: (self._priority[n], n))
        self._clock = self._priority.pop(name)
        self._uses.pop(name, None)
        ledger.end(name, now_ms)


class BoundedOracle:
    """Knows the next use: evicts what saves least per memory and time until its next use.

    A bound for policies that only choose what to evict; one that also pre-warms may do better.
    """

    name = "oracle, no pre-warming"

    def __init__(self, memory_mib: float) -> None:
        self.parameter = f"{memory_mib / 1024:g} GiB"
        self._memory = memory_mib
        self._next: dict[str, int] = {}  # warm constituent -> its next use

    def begin(self, first_uses: Mapping[str, int]) -> None:
        """Do nothing: it starts nothing before it is used."""

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Do nothing: time alone evicts nothing."""

    def used(self, name: str, now_ms: int, next_ms: int, ledger: PolicyLedger) -> None:
        """Evict the constituents of least worth, perhaps the one just used."""
        constituents = ledger.constituents
        if name in constituents:
            self._next[name] = next_ms
        while sum(_size(constituents[warm]) for warm in self._next) > self._memory:
            least = min(self._next, key=lambda warm: (self._worth(warm, now_ms, ledger), warm))
            del self._next[least]
            ledger.end(least, now_ms)

    def _worth(self, name: str, now_ms: int, ledger: PolicyLedger) -> float:
        known = ledger.constituents[name]
        cost_ms = known.warm_up_ms
        return cost_ms / _size(known) / max(1, self._next[name] - now_ms)


def _size(constituent: Constituent) -> float:
    return max(1.0, constituent.needs.memory)
