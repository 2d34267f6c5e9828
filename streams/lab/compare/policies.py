"""Keep-warm policies that observe uses of constituents and predict nothing of the users."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from itertools import count
from typing import NamedTuple, Protocol

from streams.lab.compare.histogram import IdleTimes
from streams.lab.compare.ledger import NthInstance, PolicyLedger
from streams.records.catalog import Constituent

__all__ = [
    "BoundedOracle",
    "GreedyDual",
    "HybridHistogram",
    "KeepAlive",
    "KeepWarmPolicy",
    "ObservedUse",
    "OraclePolicy",
    "PrewarmingOracle",
    "WindowPolicy",
]

NEVER_MS = 1 << 62
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class ObservedUse(NamedTuple):
    """A use of an instance."""

    at_ms: int
    until_ms: int  # it serves until then; the same, if the log does not say
    next_ms: int  # of its next use, which only oracles read

    @property
    def idle_ms(self) -> int:
        """The time from its end to the next use."""
        return max(0, self.next_ms - self.until_ms)


class KeepWarmPolicy(Protocol):
    """A policy to compare."""

    name: str
    parameter: str

    def begin(self, first_uses: Mapping[NthInstance, int]) -> None:
        """Before the log: when each instance will first be used, which only oracles read."""
        ...

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Advance the clock to `now_ms`."""
        ...

    def used(self, nth: NthInstance, use: ObservedUse, ledger: PolicyLedger) -> None:
        """Observe a use of an instance."""
        ...


class WindowPolicy:
    """A policy that plans, after each use, the next warm window of the instance."""

    name = "windows"
    parameter = ""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, NthInstance, bool]] = []  # time, plan, instance, start
        self._numbers = count()  # of the plans
        self._current: dict[NthInstance, set[int]] = {}  # instance -> plans in force

    def begin(self, first_uses: Mapping[NthInstance, int]) -> None:
        """Do nothing: there is no use to plan from."""

    def window(self, nth: NthInstance, use: ObservedUse) -> tuple[int, int]:
        """Time from a use's end to the pre-warm start (0: it stays warm), and keep-alive, in ms."""
        raise NotImplementedError

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Start and end what is due."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, plan, nth, start = heapq.heappop(self._due)
            if plan in self._current.get(nth, ()):
                (ledger.start if start else ledger.end)(nth, due_ms)

    def used(self, nth: NthInstance, use: ObservedUse, ledger: PolicyLedger) -> None:
        """Replace the plan of the instance by one from this use on."""
        del ledger
        self._plan_window(nth, use.until_ms, *self.window(nth, use))

    def _plan_window(self, nth: NthInstance, since_ms: int, before_ms: int, keep_ms: int) -> None:
        self._current[nth] = set()
        if before_ms > 0:
            self._plan(since_ms, nth, start=False)
            self._plan(since_ms + before_ms, nth, start=True)
        self._plan(since_ms + before_ms + keep_ms, nth, start=False)

    def _plan(self, due_ms: int, nth: NthInstance, *, start: bool) -> None:
        plan = next(self._numbers)
        self._current[nth].add(plan)
        heapq.heappush(self._due, (due_ms, plan, nth, start))


class KeepAlive(WindowPolicy):
    """Keep warm for a fixed time after the last use; 0 is no keep-alive, None is always warm."""

    def __init__(self, keep_ms: int | None) -> None:
        super().__init__()
        self.name = {0: "no keep-alive", None: "always warm"}.get(keep_ms, "keep-alive")
        self.parameter = "" if not keep_ms else f"{keep_ms / MINUTE_MS:g} min"
        self._keep_ms = NEVER_MS if keep_ms is None else keep_ms

    def window(self, nth: NthInstance, use: ObservedUse) -> tuple[int, int]:
        """The fixed keep-alive."""
        del nth, use
        return 0, self._keep_ms


class HybridHistogram(WindowPolicy):
    """Pre-warm and keep-alive windows from a histogram of each instance's idle times.

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
        self._idle: dict[NthInstance, IdleTimes] = {}
        self._last: dict[NthInstance, int] = {}

    def window(self, nth: NthInstance, use: ObservedUse) -> tuple[int, int]:
        """The windows that follow from the idle times so far."""
        idle = self._idle.setdefault(nth, IdleTimes(self._range_ms // MINUTE_MS))
        if nth in self._last:
            idle.add(max(0, use.at_ms - self._last[nth]) // MINUTE_MS)
        self._last[nth] = use.until_ms
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

    def window(self, nth: NthInstance, use: ObservedUse) -> tuple[int, int]:
        """The gap to the next use, or nothing when it is over the limit."""
        del nth
        gap_ms = use.idle_ms
        return 0, gap_ms + 1 if gap_ms <= self._limit_ms else 0


class PrewarmingOracle(WindowPolicy):
    """Knows the log: each instance is warm exactly when a request comes for it.

    It is kept over a gap that is no longer than a start, and else started in time for the next
    use: no request waits, and no policy of which this holds has less warm time.
    """

    name = "oracle, pre-warming"

    def __init__(self, constituents: Mapping[str, Constituent]) -> None:
        super().__init__()
        self._constituents = constituents

    def begin(self, first_uses: Mapping[NthInstance, int]) -> None:
        """Plan the first start of each instance."""
        for nth, use_ms in first_uses.items():
            start_ms = self._start_ms(nth)
            self._plan_window(nth, use_ms - start_ms - 1, 1, start_ms + 1)

    def window(self, nth: NthInstance, use: ObservedUse) -> tuple[int, int]:
        """The gap to the next use if it is short, or the start before that use."""
        if use.next_ms == NEVER_MS:
            return 0, 0
        gap_ms, start_ms = use.idle_ms, self._start_ms(nth)
        return max(0, gap_ms - start_ms), min(gap_ms, start_ms) + 1

    def _start_ms(self, nth: NthInstance) -> int:
        known = self._constituents.get(nth.service)
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
        self._uses: dict[NthInstance, int] = {}
        self._priority: dict[NthInstance, float] = {}

    def begin(self, first_uses: Mapping[NthInstance, int]) -> None:
        """Do nothing: the memory is empty."""

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Do nothing: time alone evicts nothing."""

    def used(self, nth: NthInstance, use: ObservedUse, ledger: PolicyLedger) -> None:
        """Make room for the instance; end it when it exceeds the limit by itself."""
        known = ledger.constituents[nth.service]
        size = _size(known)
        self._priority.pop(nth, None)
        while self._priority and self._held(ledger.constituents) + size > self._memory:
            self._evict(use.at_ms, ledger)
        if size > self._memory:
            ledger.end(nth, use.at_ms)
            return
        self._uses[nth] = self._uses.get(nth, 0) + 1
        cost_ms = known.warm_up_ms
        self._priority[nth] = self._clock + self._uses[nth] * cost_ms / size

    def _held(self, constituents: Mapping[str, Constituent]) -> float:
        return sum(_size(constituents[nth.service]) for nth in self._priority)

    def _evict(self, now_ms: int, ledger: PolicyLedger) -> None:
        least = min(self._priority, key=lambda nth: (self._priority[nth], nth))
        self._clock = self._priority.pop(least)
        self._uses.pop(least, None)
        ledger.end(least, now_ms)


class BoundedOracle:
    """Knows the next use: evicts what saves least per memory and time until its next use.

    A bound for policies that only choose what to evict; one that also pre-warms may do better.
    """

    name = "oracle, no pre-warming"

    def __init__(self, memory_mib: float) -> None:
        self.parameter = f"{memory_mib / 1024:g} GiB"
        self._memory = memory_mib
        self._next: dict[NthInstance, int] = {}  # warm instance -> its next use

    def begin(self, first_uses: Mapping[NthInstance, int]) -> None:
        """Do nothing: it starts nothing before it is used."""

    def advance(self, now_ms: int, ledger: PolicyLedger) -> None:
        """Do nothing: time alone evicts nothing."""

    def used(self, nth: NthInstance, use: ObservedUse, ledger: PolicyLedger) -> None:
        """Evict the instances of least worth, perhaps the one just used."""
        constituents = ledger.constituents
        self._next[nth] = use.next_ms
        while sum(_size(constituents[warm.service]) for warm in self._next) > self._memory:
            least = min(self._next, key=lambda warm: (self._worth(warm, use.at_ms, ledger), warm))
            del self._next[least]
            ledger.end(least, use.at_ms)

    def _worth(self, nth: NthInstance, now_ms: int, ledger: PolicyLedger) -> float:
        known = ledger.constituents[nth.service]
        cost_ms = known.warm_up_ms
        return cost_ms / _size(known) / max(1, self._next[nth] - now_ms)


def _size(constituent: Constituent) -> float:
    return max(1.0, constituent.needs.memory)
