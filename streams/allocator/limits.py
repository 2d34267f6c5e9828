"""What an operator and the catalogue let a pool use: pins, the budget and the quotas of tiers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from streams.allocator.economy import Economy
from streams.allocator.packing import Idle, Room
from streams.allocator.view import PoolView
from streams.records.catalog import Resources
from streams.records.control import Control, Mode

__all__ = ["beyond_quota", "by_worth", "limits_of", "room_of"]

ROUNDING = 1e-9  # part of a share that sums of needs may be beyond it


def limits_of(control: Control | None, view: PoolView) -> dict[str, tuple[int, int | None]]:
    """How many of each constituent an operator wants, at least and at most."""
    if control is None:
        return {}
    if control.mode is Mode.OFF:
        return dict.fromkeys(view.anatomy.number, (0, 0))
    return control.limits(view.now_ms)


def room_of(economy: Economy, control: Control | None) -> Room:
    """The pool's room, and how much of it each tier may still take."""
    view = economy.view
    quotas = {q.tier: q.budget for q in control.quotas} if control else {}
    shares = {
        tier.tier: view.capacity.times(tier.quota * (1 + ROUNDING))
        for tier in view.anatomy.tiers
        if tier.quota < 1.0
    }
    for tier, constituent in economy.held_for() if quotas or shares else ():
        if tier in quotas:
            quotas[tier] -= constituent.price
        if tier in shares:
            shares[tier] -= constituent.needs
    return replace(view.room, quotas=quotas, shares=shares)


def by_worth(economy: Economy) -> list[Idle]:
    """What is idle and may go, the least valuable of the lowest tiers first."""
    return sorted(economy.spare(), key=lambda i: (i.priority, i.value, i.service, -i.k))


def beyond_quota(economy: Economy, room: Room) -> Iterator[Idle]:
    """What has to go so that each tier holds no more than its share of the pool.

    It has come to hold more when its quota was lowered, or when demand has changed so that what
    was warm for another tier is mostly for this one.
    """
    over = {tier: left for tier, left in room.shares.items() if not Resources().fits(left)}
    for idle in by_worth(economy) if over else ():
        if idle.tier in over and not Resources().fits(over[idle.tier]):
            over[idle.tier] += idle.needs
            yield idle
