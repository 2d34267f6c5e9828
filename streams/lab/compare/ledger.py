"""The account of one policy: its warm time, its cost, and the cold starts of its requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from streams.allocator.valuation.catalog_index import FALLBACK
from streams.catalog.critical_path import Steps, cold_ms
from streams.records import Outcome, Request
from streams.records.catalog import Catalog, Constituent
from streams.stages.planned_pool import PlannedInstance

__all__ = ["HOUR_MS", "JudgedRequest", "NthInstance", "PolicyLedger"]

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class JudgedRequest:
    """The cold start of one request, and its cost."""

    user: str
    service: str  # the composite
    cold_ms: int  # on the critical path
    worth: float  # value that the wait cost, in the unit of the prices


class NthInstance(NamedTuple):
    """An instance of a constituent: the second is used while the first is busy, and so on."""

    service: str
    number: int  # from 1


@dataclass(slots=True)
class PolicyLedger:
    """Keeps account for one policy.

    As in the stages' simulated pool, a request that finds all instances busy has another one
    started, and is served by what is free first. Where the log does not say how long requests were
    served, nobody is busy, and one instance of a constituent serves all.

    Nothing is counted before `from_ms`, so that a policy may learn first.
    """

    catalog: Catalog
    from_ms: int
    capacity_mib: float = math.inf  # memory limit; the least recently used is evicted
    warm: dict[NthInstance, PlannedInstance] = field(default_factory=dict)
    warm_ms: dict[str, int] = field(default_factory=dict)  # constituent -> of instances that ended
    judged: list[JudgedRequest] = field(default_factory=list)
    useful_ms: int = 0  # warm time that was followed by a use
    _unused: dict[NthInstance, int] = field(default_factory=dict)  # last use or start
    _most: dict[str, int] = field(default_factory=dict)  # constituent -> most instances at once

    @property
    def constituents(self) -> Mapping[str, Constituent]:
        """The constituents of the catalogue."""
        return self.catalog.constituents

    def start(self, nth: NthInstance, at_ms: int) -> None:
        """Start an instance unless it is warm; an unknown constituent is never started."""
        known = self.constituents.get(nth.service)
        if known and nth not in self.warm:
            self._make_room(known.needs.memory, at_ms)
            ready_ms = at_ms + known.warm_up_ms
            self.warm[nth] = PlannedInstance(nth.service, "", at_ms, ready_ms)
            self._unused[nth] = at_ms
            self._most[nth.service] = max(nth.number, self._most.get(nth.service, 0))

    def end(self, nth: NthInstance, at_ms: int) -> None:
        """End an instance, if it is warm, once it has served its requests."""
        ended = self.warm.pop(nth, None)
        self._unused.pop(nth, None)
        if ended:
            # What has begun to start is paid for until it has started.
            until_ms = max(at_ms, ended.warm_since_ms, ended.serves_until_ms)
            self.pay(nth.service, ended.started_ms, until_ms)

    def judge(
        self, request: Request, steps: Steps, serving: Mapping[str, int]
    ) -> dict[NthInstance, int]:
        """Record the wait of a request: for starts, or for the rest of starts or of other requests.

        Parameters
        ----------
        serving
            The constituents of the steps, and how long each serves the request in ms.

        Returns
        -------
        dict
            What it uses, each with the time until which that serves; and what was started for it
            though another is free before, with the time from which that is idle.
        """
        at_ms, ready_ms, used = request.at_ms, dict[str, int](), dict[NthInstance, int]()
        found = {name: self._free(name, at_ms) for name in serving if name in self.constituents}
        # Those that are there first: what is started may take the place of what was not used for long.
        for name, free in sorted(found.items(), key=lambda item: item[1] is None):
            nth = free or self._free_first(name, at_ms, used)
            ready_ms[name] = self.warm[nth].free_from_ms
            used[nth] = self._use(nth, at_ms, serving[name])
        if at_ms >= self.from_ms:
            waited_ms = cold_ms(steps, lambda name: max(0, ready_ms.get(name, at_ms) - at_ms))
            self.count(request, waited_ms)
        return used

    def _there(self, name: str) -> list[NthInstance]:
        numbers = range(1, self._most.get(name, 0) + 1)
        return [nth for number in numbers if (nth := NthInstance(name, number)) in self.warm]

    def _free(self, name: str, at_ms: int) -> NthInstance | None:
        """The first instance that is free."""
        there = self._there(name)
        return next((nth for nth in there if self.warm[nth].free_from_ms <= at_ms), None)

    def _free_first(self, name: str, at_ms: int, used: dict[NthInstance, int]) -> NthInstance:
        """The instance that is free first; what is started and not that is added to what is used."""
        started = self._start_if_busy(name, at_ms)
        nth = min(self._there(name), key=lambda nth: (self.warm[nth].free_from_ms, nth))
        if started and started != nth:
            used[started] = self.warm[started].warm_since_ms
        return nth

    def _start_if_busy(self, name: str, at_ms: int) -> NthInstance | None:
        """Start one more instance if all are busy."""
        if any(self.warm[nth].busy_until_ms <= at_ms for nth in self._there(name)):
            return None
        missing = (NthInstance(name, number) for number in count(1))
        another = next(nth for nth in missing if nth not in self.warm)
        self.start(another, at_ms)
        return another

    def count(self, request: Request | Outcome, waited_ms: int) -> None:
        """Count a request that waited for so long."""
        weight = self.catalog.tiers.get(request.tier, FALLBACK).weight
        worth = weight * waited_ms / 1000
        self.judged.append(JudgedRequest(request.user, request.service, waited_ms, worth))

    def pay(self, name: str, since_ms: int, until_ms: int) -> None:
        """Pay for an instance of a constituent."""
        self.warm_ms[name] = self.warm_ms.get(name, 0) + self._counted(since_ms, until_ms)

    def used_after(self, since_ms: int, at_ms: int) -> None:
        """Count warm time since the last use, or the start, that ends in a use."""
        self.useful_ms += self._counted(since_ms, at_ms)

    def _counted(self, since_ms: int, until_ms: int) -> int:
        return max(0, until_ms - max(since_ms, self.from_ms))

    def _make_room(self, memory_mib: float, at_ms: int) -> None:
        if math.isinf(self.capacity_mib):
            return
        used_mib = sum(self.constituents[nth.service].needs.memory for nth in self.warm)
        for oldest in sorted(self._unused, key=self._unused.__getitem__):
            if used_mib + memory_mib <= self.capacity_mib:
                return
            used_mib -= self.constituents[oldest.service].needs.memory
            self.end(oldest, at_ms)

    def _use(self, nth: NthInstance, at_ms: int, lasts_ms: int) -> int:
        self.used_after(self._unused[nth], at_ms)
        self._unused[nth] = at_ms
        if not lasts_ms:
            return at_ms
        at_once = self.constituents[nth.service].at_once
        self.warm[nth] = self.warm[nth].serving(at_ms, lasts_ms, at_once)
        return self.warm[nth].serves_until_ms

    def close(self, at_ms: int) -> None:
        """End all instances."""
        for nth in list(self.warm):
            self.end(nth, at_ms)

    @property
    def wasted_ms(self) -> int:
        """Warm time of all constituents, with that in which they serve."""
        return sum(self.warm_ms.values())

    @property
    def utility(self) -> float:
        """Share of the warm time that was followed by a use; 1 when nothing was kept warm."""
        return self.useful_ms / self.wasted_ms if self.wasted_ms else 1.0

    @property
    def wasted_gb_s(self) -> float:
        """The warm time weighted by memory."""
        times = self.warm_ms.items()
        return sum(self.constituents[n].needs.memory / 1024 * ms / 1000 for n, ms in times)

    @property
    def cost(self) -> float:
        """The price of the warm time."""
        times = self.warm_ms.items()
        return sum(self.constituents[n].price * ms / HOUR_MS for n, ms in times)
