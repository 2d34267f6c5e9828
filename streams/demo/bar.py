"""By how much hits beat misses, and what that has to be held against: a real start-up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from streams.records import Instance, Outcome, Result, Route

__all__ = ["HitAdvantage", "hit_advantage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HitAdvantage:
    """Medians in ms. A miss waits for starts, so a hit is to be ahead by one at least."""

    hit_ms: float
    miss_ms: float
    slowest: str  # the constituent whose start takes longest
    start_ms: float  # and how long: from spawning it to its first answer

    @property
    def ahead_ms(self) -> float:
        """By how much hits beat misses."""
        return self.miss_ms - self.hit_ms

    def __str__(self) -> str:
        held = "at least" if self.ahead_ms >= self.start_ms else "less than"
        return (
            f"At the median hits beat misses by {self.ahead_ms:,.0f} ms: {held} the"
            f" {self.start_ms:,.0f} ms that the slowest constituent, {self.slowest}, takes to start."
        )


def hit_advantage(
    outcomes: Iterable[Outcome], instances: Iterable[Instance]
) -> HitAdvantage | None:
    """The bar of what was served and started; None without a hit, a miss or a start.

    Parameters
    ----------
    outcomes
        Partial hits, and what was refused, count for neither.
    instances
        Those that became warm tell how long that took, each once.
    """
    served: defaultdict[Result, list[float]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.route is not Route.REFUSED:
            served[outcome.result].append(outcome.latency_ms)
    starts: defaultdict[str, list[int]] = defaultdict(list)
    for instance in instances:
        if instance.warm_since_ms is not None:
            starts[instance.service].append(instance.warm_since_ms - instance.started_ms)
    if not (served[Result.HIT] and served[Result.MISS] and starts):
        return None
    took_ms = {service: median(found) for service, found in starts.items()}
    slowest = max(took_ms, key=lambda service: took_ms[service])
    return HitAdvantage(
        hit_ms=median(served[Result.HIT]),
        miss_ms=median(served[Result.MISS]),
        slowest=slowest,
        start_ms=took_ms[slowest],
    )
