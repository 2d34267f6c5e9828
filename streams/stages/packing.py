"""Fills a pool with what pays most for the scarcest resource, and says what did not fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from streams.catalog import Resources

__all__ = ["Choice", "Idle", "Room", "Want", "pack"]

NOTHING = 1e-9  # a dominant share below this counts as this


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """One more instance that would pay for itself."""

    service: str
    k: int  # which instance of the service it would be
    needs: Resources
    price: float  # for an hour
    value: float
    cost: float
    priority: int = 0  # of its tier
    share: float  # dominant share of the pool
    waited: bool = False  # has been queued for as long as anything may be

    @property
    def density(self) -> float:
        """Net value for each dominant share."""
        return (self.value - self.cost) / max(self.share, NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """An idle instance that may be taken away, and what would be lost."""

    service: str
    needs: Resources
    price: float
    value: float
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a pool."""

    free: Resources
    budget: float  # for an hour

    def bound_by(self, want: Want) -> str:
        """The name of what the want does not fit in; empty when it fits."""
        for name in ("cpu", "memory", "bandwidth"):
            if getattr(want.needs, name) > getattr(self.free, name):
                return name
        return "budget" if want.price > self.budget else ""

    def less(self, what: Want) -> Room:
        """The room left once the want is in it."""
        return Room(self.free - what.needs, self.budget - what.price)

    def more(self, what: Idle) -> Room:
        """The room left once the idle instance is gone."""
        return Room(self.free + what.needs, self.budget + what.price)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is done about a want: started, after `taken` made room; or refused for what binds."""

    want: Want
    bound: str = ""
    taken: tuple[Idle, ...] = field(default=())


def pack(wants: Iterable[Want], room: Room, idle: Sequence[Idle]) -> list[Choice]:
    """Choose greedily: who has waited too long, then by priority, then by density.

    Greedy by value for each dominant share is the usual heuristic for the multi-dimensional
    knapsack (Kellerer, Pferschy, Pisinger: Knapsack Problems, 2004, section 9.5). A want that
    does not fit takes idle instances of lower priority, the least valuable first, as long as
    it is worth more than they are. After a refusal a service gets no more, as its further
    instances are worth less.

    Parameters
    ----------
    wants
        Those of a service in order of falling value.
    idle
        What may be taken; of a service the least valuable first.
    """
    left = sorted(idle, key=lambda i: (i.priority, i.value, i.service))
    choices: list[Choice] = []
    refused: set[str] = set()
    for want in sorted(
        wants, key=lambda w: (not w.waited, -w.priority, -w.density, w.service, w.k)
    ):
        bound = room.bound_by(want)
        taken = _room_for(want, room, left) if bound else ()
        if want.service in refused or (bound and not taken):
            refused.add(want.service)
            choices.append(Choice(want, bound or "order"))
            continue
        for victim in taken:
            left.remove(victim)
            room = room.more(victim)
        room = room.less(want)
        choices.append(Choice(want, bound, taken))
    return choices


def _room_for(want: Want, room: Room, idle: Iterable[Idle]) -> tuple[Idle, ...]:
    """The idle instances to take for a want; none when that is not enough, or not worth it."""
    taken: list[Idle] = []
    gain = want.value - want.cost
    for victim in idle:
        if victim.priority >= want.priority or victim.service == want.service:
            continue
        taken.append(victim)
        room = room.more(victim)
        gain -= victim.value
        if gain <= 0:
            return ()
        if not room.bound_by(want):
            return tuple(taken)
    return ()
