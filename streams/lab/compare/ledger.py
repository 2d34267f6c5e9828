"""The account of one policy: its warm time, its cost, and the cold starts of its requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.allocator.valuation.catalog_index import FALLBACK
from streams.catalog.critical_path import Steps, cold_ms
from streams.records import Outcome, Request
from streams.records.catalog import Catalog, Constituent

__all__ = ["HOUR_MS", "JudgedRequest", "PolicyLedger"]

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class JudgedRequest:
    """The cold start of one request, and its cost."""

    user: str
    service: str  # the composite
    cold_ms: int  # on the critical path
    worth: float  # value that the wait cost, in the unit of the prices


@dataclass(slots=True)
class PolicyLedger:
    """Keeps account for one policy; one instance of a constituent serves all requests for it.

    Nothing is counted before `from_ms`, so that a policy may learn first.
    """

    catalog: Catalog
    from_ms: int
    capacity_mib: float = math.inf  # memory limit; the least recently used is evicted
    warm: dict[str, int] = field(default_factory=dict)  # constituent -> time of its start
    warm_ms: dict[str, int] = field(default_factory=dict)  # constituent -> of instances that ended
    judged: list[JudgedRequest] = field(default_factory=list)
    useful_ms: int = 0  # warm time that was followed by a use
    _unused: dict[str, int] = field(default_factory=dict)  # constituent -> last use or start

    @property
    def constituents(self) -> Mapping[str, Constituent]:
        """The constituents of the catalogue."""
        return self.catalog.constituents

    def start(self, name: str, at_ms: int) -> None:
        """Start a constituent of the catalogue unless it is warm; an unknown one is never started."""
        if name in self.constituents and name not in self.warm:
            self._make_room(self.constituents[name].needs.memory, at_ms)
            self.warm[name] = self._unused[name] = at_ms

    def end(self, name: str, at_ms: int) -> None:
        """End the instance of a constituent, if it is warm."""
        since_ms = self.warm.pop(name, None)
        self._unused.pop(name, None)
        if since_ms is not None:
            # What has begun to start is paid for until it has started.
            until_ms = max(at_ms, since_ms + self.constituents[name].warm_up_ms)
            self.pay(name, since_ms, until_ms)

    def judge(self, request: Request, steps: Steps) -> None:
        """Record the wait of a request: for whole starts, or for the rest of those under way."""
        at_ms = request.at_ms

        def wait_ms(name: str) -> int:
            known = self.constituents.get(name)
            ready_ms = self.warm.get(name, at_ms) + (known.warm_up_ms if known else 0)
            return max(0, ready_ms - at_ms)

        if at_ms >= self.from_ms:
            self.count(request, cold_ms(steps, wait_ms))
        for step in steps:
            for name in step:
                self.start(name, at_ms)
                self._use(name, at_ms)

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
        used_mib = sum(self.constituents[n].needs.memory for n in self.warm)
        for oldest in sorted(self._unused, key=self._unused.__getitem__):
            if used_mib + memory_mib <= self.capacity_mib:
                return
            used_mib -= self.constituents[oldest].needs.memory
            self.end(oldest, at_ms)

    def _use(self, name: str, at_ms: int) -> None:
        if name in self._unused:
            self.used_after(self._unused[name], at_ms)
            self._unused[name] = at_ms

    def close(self, at_ms: int) -> None:
        """End all instances."""
        for name in list(self.warm):
            self.end(name, at_ms)

    @property
    def wasted_ms(self) -> int:
        """Warm time of all constituents; serving time is unknown, so it is not subtracted."""
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
