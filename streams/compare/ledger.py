"""What a policy has warm, what that costs, and what its requests had to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.catalog import Catalog, Constituent
from streams.stages.critical_path import Steps, cold_ms

__all__ = ["Judged", "Ledger"]

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Judged:
    """How one request went."""

    user: str
    service: str  # the composite
    cold_ms: int  # on the critical path


@dataclass(slots=True)
class Ledger:
    """Keeps account for one policy; one instance of a constituent serves all its requests.

    Nothing is counted before `from_ms`, so that a policy may learn first.
    """

    catalog: Catalog
    from_ms: int
    warm: dict[str, int] = field(default_factory=dict)  # constituent -> started at
    warm_ms: dict[str, int] = field(default_factory=dict)  # constituent -> over lives that ended
    judged: list[Judged] = field(default_factory=list)

    @property
    def constituents(self) -> Mapping[str, Constituent]:
        """The constituents of the catalogue."""
        return self.catalog.constituents

    def start(self, name: str, at_ms: int) -> None:
        """Start it, unless it is there; what the catalogue does not have is never started."""
        if name in self.constituents:
            self.warm.setdefault(name, at_ms)

    def end(self, name: str, at_ms: int) -> None:
        """Have it warm no more."""
        since_ms = self.warm.pop(name, None)
        if since_ms is not None:
            lived_ms = max(0, at_ms - max(since_ms, self.from_ms))
            self.warm_ms[name] = self.warm_ms.get(name, 0) + lived_ms

    def judge(self, user: str, service: str, steps: Steps, at_ms: int) -> None:
        """Note what a request waits for: whole starts, or the rest of those under way."""

        def wait_ms(name: str) -> int:
            known = self.constituents.get(name)
            ready_ms = self.warm.get(name, at_ms) + (known.warm_up_ms if known else 0)
            return max(0, ready_ms - at_ms)

        if at_ms >= self.from_ms:
            self.judged.append(Judged(user, service, cold_ms(steps, wait_ms)))
        for step in steps:
            for name in step:
                self.start(name, at_ms)

    def close(self, at_ms: int) -> None:
        """End everything."""
        for name in list(self.warm):
            self.end(name, at_ms)

    @property
    def wasted_ms(self) -> int:
        """Warm time, of all constituents; the time spent serving is not known and not taken off."""
        return sum(self.warm_ms.values())

    @property
    def wasted_gb_s(self) -> float:
        """The same, weighted with memory."""
        lives = self.warm_ms.items()
        return sum(self.constituents[n].needs.memory / 1024 * ms / 1000 for n, ms in lives)

    @property
    def cost(self) -> float:
        """The same, in the unit of the prices."""
        lives = self.warm_ms.items()
        return sum(self.constituents[n].price * ms / HOUR_MS for n, ms in lives)
