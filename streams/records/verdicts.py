"""Why a constituent was started, queued, given back or left: the facts of a decision."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from streams.records.control import Mode

__all__ = ["Alternative", "Choice", "Expected", "Verdict"]


class Choice(enum.StrEnum):
    """What was decided about a constituent."""

    START = "start"  # one more instance
    QUEUE = "queue"  # wanted, but it does not fit
    RELEASE = "release"  # idle instances are given back
    KEEP = "keep"  # what there is stays, no further one pays
    LEAVE = "leave"  # there is none, and none pays


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
    """What was decided about a constituent, and on what grounds; it holds until the next one.

    Values and costs are in the unit of the prices, over the horizon.
    """

    pool: str
    service: str  # the constituent
    at_ms: int  # event time of the decision
    choice: Choice
    mode: Mode  # in `shadow` nothing was done
    command_id: str  # that came of it, or would have; empty when none
    instance: int  # the how-manieth it is about
    have: int  # instances there or under way
    chance: float  # that this one is used within the horizon
    value: float  # expected worth of this one
    cost: float  # of having it
    bound: str  # what decided: value, pin, cpu, memory, bandwidth, budget, quota
    tier: str  # the highest it is for
    price: float  # of one instance for an hour
    horizon_ms: int
    warm_up_ms: int  # start-up time that was reckoned with
    expected: tuple[Expected, ...] = ()  # most first, a few
    alternatives: tuple[Alternative, ...] = ()  # a few
    challenger: str = ""  # whose it is when it was only tried, on paper; else empty
