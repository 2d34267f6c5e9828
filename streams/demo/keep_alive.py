"""What a keep-alive would cost on given requests, and how long one is that costs so much; no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from streams.demo.population import SyntheticRequest
from streams.demo.studio import SERVES_MS, TIER
from streams.records.catalog import Catalog, Constituent

__all__ = ["TimerCost", "cost", "keep_alive_s", "least_total"]

LONGEST_S = 3_600.0
LENGTHS_S = [1.1**n for n in range(-10, 60)]  # .4 s to 5 min
ROUNDS = 40  # of bisection
LINGERS_S = 0.7  # after its time, until gateways have heard of its end


@dataclass(slots=True)
class _Life:
    """An instance under a keep-alive."""

    warm_s: float
    free_s: float  # when what it serves is done


@dataclass(frozen=True, slots=True)
class TimerCost:
    """What a keep-alive costs from time 0 to the last request, by calculation."""

    spent: float = 0.0  # on warm instances
    waiting: float = 0.0  # what the waits cost


def keep_alive_s(sum_spent: float, asks: Sequence[SyntheticRequest], catalog: Catalog) -> float:
    """The longest keep-alive, up to an hour, that spends no more than this sum.

    It is tuned on the very requests that it will see, which no operator can do.
    """
    low, high = 0.0, LONGEST_S
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        within = cost(middle, asks, catalog).spent <= sum_spent
        low, high = (middle, high) if within else (low, middle)
    return low


def least_total(asks: Sequence[SyntheticRequest], catalog: Catalog) -> float:
    """What instances and waits cost together under the best keep-alive of any length."""
    costs = [cost(idle_s, asks, catalog) for idle_s in LENGTHS_S]
    return min(each.spent + each.waiting for each in costs)


def cost(idle_s: float, asks: Sequence[SyntheticRequest], catalog: Catalog) -> TimerCost:
    """The cost if each instance ends after so long without use."""
    if not asks:
        return TimerCost()
    lives: defaultdict[str, list[_Life]] = defaultdict(list)
    waited_s = 0.0
    for ask in asks:
        parts = [catalog.constituents[x] for x in catalog.composites[ask.service].constituents]
        used = [_used(part, lives[part.service], ask.at_s, idle_s) for part in parts]
        served_s = max(ask.at_s, *(life.warm_s for life in used))
        waited_s += served_s - ask.at_s if ask.at_s >= 0 else 0.0
        for life in used:
            life.free_s = max(life.free_s, served_s + SERVES_MS / 1000)
    spent = sum(
        _warm_s(life, asks[-1].at_s, idle_s) / 3600 * catalog.constituents[service].price
        for service, found in lives.items()
        for life in found
    )
    return TimerCost(spent, waited_s * TIER.weight)


def _warm_s(life: _Life, end_s: float, idle_s: float) -> float:
    return max(0.0, min(end_s, life.free_s + idle_s + LINGERS_S) - max(0.0, life.warm_s))


def _used(part: Constituent, lives: list[_Life], at_s: float, idle_s: float) -> _Life:
    """The instance that serves a request: the one used last of those free, else a new one."""
    shared = part.concurrency > 1  # taken as enough for all that come at once
    free = [
        life for life in lives if (shared or life.free_s <= at_s) and at_s <= life.free_s + idle_s
    ]
    if free:
        return max(free, key=lambda life: life.free_s)
    warm_s = at_s + part.warm_up_ms / 1000
    lives.append(_Life(warm_s, warm_s))
    return lives[-1]
