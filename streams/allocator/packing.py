"""Packs wants into a pool greedily, and reports which did not fit and why."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from streams.records.catalog import Resources

__all__ = ["START", "IdleInstance", "InstanceWant", "PackingChoice", "PoolRoom", "pack"]

NOTHING = 1e-9  # least share, against division by zero
# What a start must be worth, for each unit of the price it costs and of the value it displaces:
# what is wanted for about as long as it takes to start is paid for twice that time.
START = 2.0


class InstanceWant(NamedTuple):
    """Instances to start together. A named tuple: very many are made."""

    parts: tuple[tuple[str, int], ...]  # constituent, and 1-based ordinal of the instance
    needs: Resources
    price: float  # per hour
    value: float
    cost: float
    share: float  # of the pool, see `valuation.catalog_index.share_of`
    priority: int = 0  # of its tier
    tier: str = ""  # the highest that at least half of the value is for
    patience: float = 1.0  # weight against higher tiers; above 1 when queued for too long
    pinned: bool = False  # demanded by the operator: goes first, whatever its value
    on: tuple[str, ...] = ()  # the bases without which it cannot start, besides its parts

    @property
    def density(self) -> float:
        """Net value per share of the pool."""
        return (self.value - self.cost) / max(self.share, NOTHING)

    @property
    def rank(self) -> tuple[bool, bool, int, float, tuple[tuple[str, int], ...]]:
        """Sort key: pins first, then starved wants, then by priority, then by density."""
        return (not self.pinned, self.patience <= 1, -self.priority, -self.density, self.parts)

    @property
    def claim(self) -> float:
        """Most value of idle instances of higher tiers that it may preempt."""
        return math.inf if self.pinned else (self.value - self.cost) * self.patience

    @property
    def urgent(self) -> bool:
        """Whether it may preempt instances of any tier."""
        return self.pinned or self.patience > 1

    def displaced(self, victim: IdleInstance) -> float:
        """What preempting an idle instance takes off its claim: patience counts upwards only."""
        higher = victim.priority > self.priority
        return victim.value if higher else victim.value * START * self.patience


class IdleInstance(NamedTuple):
    """An idle instance that may be preempted, and the value that would be lost."""

    service: str
    k: int  # 1-based ordinal of the instance; the highest is the least valuable
    needs: Resources
    price: float
    value: float
    priority: int = 0
    tier: str = ""

    def frees(self, bounds: Iterable[str], want: InstanceWant) -> bool:
        """Whether the want has more of something that it is short of when this is given up."""
        return any(self._frees(bound, want) for bound in bounds)

    def _frees(self, bound: str, want: InstanceWant) -> bool:
        match bound:
            case "quota":
                return self.tier == want.tier
            case "budget":
                return self.price > 0.0
        return bool(getattr(self.needs, bound))


@dataclass(frozen=True, slots=True)
class PoolRoom:
    """Free capacity and budget of a pool."""

    free: Resources
    budget: float  # per hour
    quotas: Mapping[str, float] = field(default_factory=dict)  # budget left per tier
    shares: Mapping[str, Resources] = field(
        default_factory=dict
    )  # capacity left per tier, within `free`

    def bounds_of(self, want: InstanceWant) -> Iterator[str]:
        """Names of the limits that the want exceeds."""
        for name in ("cpu", "memory", "bandwidth"):
            if getattr(want.needs, name) > getattr(self.free, name):
                yield name
        if want.price > self.budget:
            yield "budget"
        share = self.shares.get(want.tier)
        over = want.price > self.quotas.get(want.tier, math.inf)
        if over or (share and not want.needs.fits(share)):
            yield "quota"

    def bound_by(self, want: InstanceWant) -> str:
        """Name of the first limit that the want exceeds; empty if it fits."""
        return next(self.bounds_of(want), "")

    def less(self, what: InstanceWant) -> PoolRoom:
        """The room after the want has been started."""
        return self._changed(what, -1)

    def more(self, what: IdleInstance) -> PoolRoom:
        """The room after the idle instance has been released."""
        return self._changed(what, 1)

    def _changed(self, what: InstanceWant | IdleInstance, sign: int) -> PoolRoom:
        price, needs, tier = sign * what.price, what.needs.times(sign), what.tier
        quotas, shares = self.quotas, self.shares
        if tier in quotas:
            quotas = {**quotas, tier: quotas[tier] + price}
        if tier in shares:
            shares = {**shares, tier: shares[tier] + needs}
        return PoolRoom(self.free + needs, self.budget + price, quotas, shares)


@dataclass(frozen=True, slots=True)
class PackingChoice:
    """Outcome for a want: started, after preempting `taken`; or refused because of `bound`."""

    want: InstanceWant
    bound: str = ""
    taken: tuple[IdleInstance, ...] = ()

    @property
    def granted(self) -> bool:
        """Whether the want is started."""
        return not self.bound or bool(self.taken)


def pack(
    wants: Iterable[InstanceWant],
    room: PoolRoom,
    idle: Callable[[], Iterable[IdleInstance]],
    have: Mapping[str, int],
    then: Callable[[PackingChoice], Iterable[InstanceWant]],
) -> list[PackingChoice]:
    """Choose greedily by rank.

    Greedy by value for each share is the usual heuristic for the multi-dimensional knapsack
    (Kellerer, Pferschy, Pisinger: Knapsack Problems, 2004, section 9.5). A want that does not
    fit takes idle instances of no higher priority, the least valuable first, as long as it is
    worth enough more than they are; one that has waited too long takes those of any priority.

    Parameters
    ----------
    wants
        The initial wants.
    idle
        Yields the instances that may be preempted; called when a want does not fit.
    have
        Instances per constituent; a want counts only while it is for the next one.
    then
        Called with each granted choice; returns wants that are new or have a new value.
    """
    left: list[IdleInstance] | None = None
    counts = Counter(have)
    under: set[str] = set()  # bases that what is started starts from
    order = count()
    waiting = [(want.rank, next(order), want) for want in wants]
    latest = {want.parts: want for _, _, want in waiting}
    heapq.heapify(waiting)
    choices: list[PackingChoice] = []
    while waiting:
        _, _, want = heapq.heappop(waiting)
        if latest.get(want.parts) is not want or not _is_next(want, counts):
            continue
        bound = room.bound_by(want)
        if bound and left is None:
            left = sorted(idle(), key=lambda i: (i.priority, i.value, i.service, -i.k))
        taken = _room_for(want, room, left, counts, under) if bound and left else ()
        choices.append(PackingChoice(want, bound, taken))
        if not choices[-1].granted:
            continue
        for victim in taken:
            left.remove(victim)  # type: ignore[union-attr]
            counts[victim.service] -= 1
            room = room.more(victim)
        room = room.less(want)
        counts.update(service for service, _ in want.parts)
        under.update(want.on)
        for new in then(choices[-1]):
            latest[new.parts] = new
            heapq.heappush(waiting, (new.rank, next(order), new))
    return choices


def _is_next(want: InstanceWant, counts: Counter[str]) -> bool:
    """Whether it is for the next instances, of which the bases are still there."""
    return all(counts[base] for base in want.on) and all(
        k == counts[service] + 1 for service, k in want.parts
    )


def _room_for(
    want: InstanceWant,
    room: PoolRoom,
    idle: Iterable[IdleInstance],
    counts: Mapping[str, int],
    under: Iterable[str],
) -> tuple[IdleInstance, ...]:
    """Idle instances to preempt for a want; empty if they do not suffice or are worth more."""
    spared = {*under, *want.on, *[service for service, _ in want.parts]}
    taken: list[IdleInstance] = []
    gone: Counter[str] = Counter()
    gain, bounds = want.claim, [*room.bounds_of(want)]
    for victim in idle:
        if victim.priority > want.priority and not want.urgent:
            break  # and so are all after it
        last = victim.k == counts[victim.service] - gone[victim.service]
        if victim.service in spared or not last or not victim.frees(bounds, want):
            continue
        gain -= want.displaced(victim)
        if gain <= 0:
            return ()
        taken.append(victim)
        gone[victim.service] += 1
        room = room.more(victim)
        bounds = [*room.bounds_of(want)]
        if not bounds:
            return tuple(taken)
    return ()
