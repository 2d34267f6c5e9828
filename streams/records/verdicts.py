"""Why a constituent was started, queued, released or left: the facts of a decision."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from streams.records.control import Mode

__all__ = ["Alternative", "Choice", "Expected", "Verdict"]


class Choice(enum.StrEnum):
    """What was decided about a constituent."""

    START = "start"  # one more instance
    QUEUE = "queue"  # wanted, but it does not fit
    RELEASE = "release"  # idle instances are released
    KEEP = "keep"  # the instances stay, and no further one pays
    LEAVE = "leave"  # there is no instance, and none pays


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Requests that were expected to need the constituent."""

    service: str  # the composite
    tier: str
    requests: float  # within the horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What else could have been done."""

    what: str  # in words
    value: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision about a constituent and its grounds; in effect until the next one.

    Values and costs are in the unit of the prices, over the horizon.
    """

    pool: str
    service: str  # the constituent
    at_ms: int  # event time of the decision
    choice: Choice
    mode: Mode  # in `shadow` nothing was done
    command_id: str  # the resulting command, or what it would have been; empty when none
    instance: int  # 1-based ordinal of the instance
    have: int  # instances present or under way
    chance: float  # probability that this one is used within the horizon
    value: float  # expected value of this one
    cost: float  # of keeping it
    bound: str  # what decided: value, pin, cpu, memory, bandwidth, budget, quota
    tier: str  # the highest it is for
    price: float  # of one instance for an hour
    horizon_ms: int
    warm_up_ms: int  # start-up time assumed
    expected: tuple[Expected, ...] = ()  # a few, most requests first
    alternatives: tuple[Alternative, ...] = ()  # a few
    challenger: str = ""  # the simulated challenger that decided so; empty when it was in force
