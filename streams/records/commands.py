"""The allocator's commands, and the utilisation that they have to respect."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from streams.records.catalog import Resources

__all__ = ["Action", "Command", "Utilisation"]


class Action(enum.StrEnum):
    """What a command asks of the provisioner."""

    PROVISION = "provision"  # start `count` instances
    RELEASE = "release"  # end `count` idle instances
    QUEUE = "queue"  # wanted, does not fit now: kept with its priority until it expires


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilisation:
    """Capacity and use of a pool, as its provisioner sees them."""

    pool: str
    at_ms: int
    capacity: Resources
    used: Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What the allocator wants done, and why."""

    command_id: str  # deterministic: doing it twice is doing it once
    pool: str
    action: Action
    service: str  # the constituent
    count: int
    value: float  # expected worth of doing it, in the unit of the prices
    cost: float  # expected cost of doing it, same unit
    priority: float  # of a queued one: its tier's, plus d / (1 + d) of its net value d per share
    issued_ms: int
    expires_ms: int  # after this it is not to be carried out
    reason: str  # in words, with the numbers that decided
    tier: str = "standard"  # the highest tier it is for
