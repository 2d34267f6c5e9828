"""Fills a pool with what pays most for the scarcest resource, and says what did not fit."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from streams.records.catalog import Resources

__all__ = ["Choice", "Idle", "Room", "Want", "pack"]

NOTHING = 1e-9  # a share below this counts as this


class Want(NamedTuple):
    """Instances that would pay for themselves, together; made in great number."""

    parts: tuple[tuple[str, int], ...]  # service, and which instance of it this would be
    needs: Resources
    price: float  # for an hour
    value: float
    cost: float
    share: float  # of the pool, see `valuation.catalog_index.share_of`
    priority: int = 0  # of its tier
    tier: str = ""  # the highest that at least half of the value is for
    patience: float = 1.0  # above 1 when queued for too long: its net value counts so much more
    pinned: bool = False  # an operator's word: comes first, whatever it is worth

    @property
    def density(self) -> float:
        """Net value for each share of the pool."""
        return (self.value - self.cost) / max(self.share, NOTHING)

    @property
    def rank(self) -> tuple[bool, bool, int, float, tuple[tuple[str, int], ...]]:
        """Smallest first: pins, who has waited too long, then by priority, then by density."""
        return (not self.pinned, self.patience <= 1, -self.priority, -self.density, self.parts)

    @property
    def claim(self) -> float:
        """Net value that it may take from others."""
        return math.inf if self.pinned else (self.value - self.cost) * self.patience

    @property
    def urgent(self) -> bool:
        """Whether it may take from any tier."""
        return self.pinned or self.patience > 1


class Idle(NamedTuple):
    """An idle instance that may be taken away, and what would be lost."""

    service: str
    k: int  # which instance of the service it is; the least valuable has the highest number
    needs: Resources
    price: float
    value: float
    priority: int = 0
    tier: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a pool."""

    free: Resources
    budget: float  # for an hour
    quotas: Mapping[str, float] = field(default_factory=dict)  # the same of a tier
    shares: Mapping[str, Resources] = field(default_factory=dict)  # of a tier, below what is free

    def bound_by(self, want: Want) -> str:
        """The name of what the want does not fit in; empty when it fits."""
        for name in ("cpu", "memory", "bandwidth"):
            if getattr(want.needs, name) > getattr(self.free, name):
                return name
        if want.price > self.budget:
            return "budget"
        share = self.shares.get(want.tier)
        over = want.price > self.quotas.get(want.tier, math.inf)
        return "quota" if over or (share and not want.needs.fits(share)) else ""

    def less(self, what: Want) -> Room:
        """The room left once the want is in it."""
        return self._changed(what, -1)

    def more(self, what: Idle) -> Room:
        """The room left once the idle instance is gone."""
        return self._changed(what, 1)

    def _changed(self, what: Want | Idle, sign: int) -> Room:
        price, needs, tier = sign * what.price, what.needs.times(sign), what.tier
        quotas, shares = self.quotas, self.shares
        if tier in quotas:
            quotas = {**quotas, tier: quotas[tier] + price}
        if tier in shares:
            shares = {**shares, tier: shares[tier] + needs}
        return Room(self.free + needs, self.budget + price, quotas, shares)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is done about a want: started, after `taken` made room; or refused for what binds."""

    want: Want
    bound: str = ""
    taken: tuple[Idle, ...] = ()

    @property
    def granted(self) -> bool:
        """Whether it is started."""
        return not self.bound or bool(self.taken)


def pack(
    wants: Iterable[Want],
    room: Room,
    idle: Callable[[], Iterable[Idle]],
    have: Mapping[str, int],
    then: Callable[[Choice], Iterable[Want]],
) -> list[Choice]:
    """Choose greedily by rank.

    Greedy by value for each share is the usual heuristic for the multi-dimensional knapsack
    (Kellerer, Pferschy, Pisinger: Knapsack Problems, 2004, section 9.5). A want that
    does not fit takes idle instances of lower priority, the least valuable first, as long as
    it is worth more than they are; one that has waited too long takes those of any priority.

    Parameters
    ----------
    wants
        To begin with.
    idle
        What could be taken away, asked for when something does not fit.
    have
        Instances of each service; a want is in time only for the next one.
    then
        Called with each grant; the wants that are new or worth something else since.
    """
    left: list[Idle] | None = None
    counts = Counter(have)
    order = count()
    waiting = [(want.rank, next(order), want) for want in wants]
    latest = {want.parts: want for _, _, want in waiting}
    heapq.heapify(waiting)
    choices: list[Choice] = []
    while waiting:
        _, _, want = heapq.heappop(waiting)
        if latest.get(want.parts) is not want or any(k != counts[s] + 1 for s, k in want.parts):
            continue
        bound = room.bound_by(want)
        if bound and left is None:
            left = sorted(idle(), key=lambda i: (i.priority, i.value, i.service, -i.k))
        taken = _room_for(want, room, left, counts) if bound and left else ()
        choices.append(Choice(want, bound, taken))
        if not choices[-1].granted:
            continue
        for victim in taken:
            left.remove(victim)  # type: ignore[union-attr]
            counts[victim.service] -= 1
            room = room.more(victim)
        room = room.less(want)
        counts.update(service for service, _ in want.parts)
        for new in then(choices[-1]):
            latest[new.parts] = new
            heapq.heappush(waiting, (new.rank, next(order), new))
    return choices


def _room_for(
    want: Want, room: Room, idle: Iterable[Idle], counts: Mapping[str, int]
) -> tuple[Idle, ...]:
    """The idle instances to take for a want; none when that is not enough, or not worth it."""
    wanted = {service for service, _ in want.parts}
    taken: list[Idle] = []
    gone: Counter[str] = Counter()
    gain, bound = want.claim, room.bound_by(want)
    for victim in idle:
        if victim.priority >= want.priority and not want.urgent:
            break  # and so are all after it
        last = victim.k == counts[victim.service] - gone[victim.service]
        if victim.service in wanted or not last:
            continue
        if bound == "quota" and victim.tier != want.tier:
            continue  # it would be given up for nothing
        taken.append(victim)
        gone[victim.service] += 1
        room = room.more(victim)
        gain -= victim.value
        if gain <= 0:
            return ()
        bound = room.bound_by(want)
        if not bound:
            return tuple(taken)
    return ()
