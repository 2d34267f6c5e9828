"""How much faster hits are than misses, compared with the start-up time of an instance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from streams.records import Instance, Outcome, Result, Route

__all__ = ["HitAdvantage", "hit_advantage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HitAdvantage:
    """Median latencies in ms. A miss waits for start-ups, so a hit should save at least one."""

    hit_ms: float
    miss_ms: float
    slowest: str  # the constituent that takes longest to start
    start_ms: float  # its median start-up time, from spawning it to its first answer

    @property
    def ahead_ms(self) -> float:
        """By how much hits are faster than misses."""
        return self.miss_ms - self.hit_ms

    def __str__(self) -> str:
        compared = "at least" if self.ahead_ms >= self.start_ms else "less than"
        return (
            f"At the median hits beat misses by {self.ahead_ms:,.0f} ms: {compared} the"
            f" {self.start_ms:,.0f} ms that the slowest constituent, {self.slowest}, takes to start."
        )


def hit_advantage(
    outcomes: Iterable[Outcome], instances: Iterable[Instance]
) -> HitAdvantage | None:
    """The advantage of hits over misses; None without a hit, a miss or a start-up.

    Parameters
    ----------
    outcomes
        Partial hits and refused requests count as neither hits nor misses.
    instances
        Start-up times come from those that became warm, each once.
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
    took_ms = {service: median(times) for service, times in starts.items()}
    slowest = max(took_ms, key=lambda service: took_ms[service])
    return HitAdvantage(
        hit_ms=median(served[Result.HIT]),
        miss_ms=median(served[Result.MISS]),
        slowest=slowest,
        start_ms=took_ms[slowest],
    )
