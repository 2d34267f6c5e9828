"""Limits set by the operator and the catalogue: pins, budget and tier quotas."""

from __future__ import annotations

from collections.abc import Iterator

from streams.allocator.economy import InstanceEconomy
from streams.allocator.packing import IdleInstance, PoolRoom
from streams.allocator.view import PoolView
from streams.records.catalog import Resources
from streams.records.control import Control, Mode

__all__ = ["beyond_quota", "by_worth", "limits_of", "room_of"]

ROUNDING = 1e-9  # relative tolerance for rounding when needs are summed


def limits_of(control: Control | None, view: PoolView) -> dict[str, tuple[int, int | None]]:
    """Fewest and most instances per constituent, as the operator has set them."""
    if control is None:
        return {}
    if control.mode is Mode.OFF:
        return dict.fromkeys(view.index.number, (0, 0))
    return control.limits(view.now_ms)


def room_of(economy: InstanceEconomy, control: Control | None) -> PoolRoom:
    """Free capacity and budget of the pool, and what each tier may still use of them."""
    view = economy.view
    given = control.quotas if control else ()
    quotas = {quota.tier: quota.budget * (1 + ROUNDING) for quota in given}
    shares = {
        tier.tier: view.capacity.times(tier.quota * (1 + ROUNDING))
        for tier in view.index.tiers
        if tier.quota < 1.0
    }
    for tier, constituent in economy.held_for() if quotas or shares else ():
        if tier in quotas:
            quotas[tier] -= constituent.price
        if tier in shares:
            shares[tier] -= constituent.needs
    return PoolRoom(view.room.free, view.room.budget, quotas, shares)


def by_worth(economy: InstanceEconomy) -> list[IdleInstance]:
    """Idle instances that may be released: lowest tier first, then least valuable."""
    return sorted(economy.spare(), key=lambda i: (i.priority, i.value, i.service, -i.k))


def beyond_quota(economy: InstanceEconomy, room: PoolRoom) -> Iterator[IdleInstance]:
    """Idle instances to release so that no tier exceeds its quota of the pool or of the budget.

    A tier exceeds it when the quota has been lowered, or when demand has shifted so that
    instances warmed for another tier are now mostly for this one.
    """
    for idle in by_worth(economy) if _any_over(room) else ():
        if _is_over(room, idle.tier):
            room = room.more(idle)
            yield idle


def _any_over(room: PoolRoom) -> bool:
    return any(_is_over(room, tier) for tier in (*room.shares, *room.quotas))


def _is_over(room: PoolRoom, tier: str) -> bool:
    share = room.shares.get(tier)
    beyond = share is not None and not Resources().fits(share)
    return beyond or room.quotas.get(tier, 0.0) < 0.0
