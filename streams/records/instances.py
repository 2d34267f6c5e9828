"""Instances of constituents, their states, and how long they take to start."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["ON_REQUEST", "ColdStart", "Instance", "InstanceState", "LoggedUse", "MeasuredWarmUp"]

ON_REQUEST = "standard/"  # begins the command ids of instances that a request started


class InstanceState(enum.StrEnum):
    """The life of an instance: starting -> warm <-> busy -> draining -> gone."""

    STARTING = "starting"  # process spawned, no request answered yet
    WARM = "warm"  # has answered a real request, free
    BUSY = "busy"  # serving as many requests as it may
    DRAINING = "draining"  # finishes what it serves, takes nothing new
    GONE = "gone"  # ended, or crashed (the reason says which)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance of a constituent; its last record tells its whole life."""

    instance_id: str
    service: str  # the constituent
    pool: str
    state: InstanceState
    endpoint: str  # http://host:port, empty before there is one
    command_id: str  # the command that started it, or `ON_REQUEST` and the request's id
    started_ms: int  # spawned
    changed_ms: int  # entered `state`
    warm_since_ms: int | None = None  # first answered request
    gone_ms: int | None = None
    uses: int = 0  # requests served so far
    busy_ms: int = 0  # time spent serving so far, waits of its requests for others included
    reason: str = ""  # why it is in this state
    # Of a simulated one: until then it serves as many requests as it may, or one at least.
    busy_until_ms: int = 0
    serves_until_ms: int = 0

    @property
    def free_from_ms(self) -> int | None:
        """From when it could serve one more request; None while nobody knows."""
        since_ms = self.warm_since_ms
        return None if since_ms is None else max(since_ms, self.busy_until_ms)

    def warm_at(self, at_ms: int) -> bool:
        """Whether it could have served at `at_ms`: event time decides, never arrival order."""
        if self.warm_since_ms is None or self.warm_since_ms > at_ms:
            return False
        if self.state is InstanceState.DRAINING and self.changed_ms <= at_ms:
            return False
        return self.gone_ms is None or at_ms < self.gone_ms


ENOUGH = 3  # measured start-ups that replace the time in the catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredWarmUp:
    """Start-up times of a constituent, as measured: all so far in demand, one more in feedback."""

    service: str  # the constituent
    count: int
    total_ms: int
    squares_ms2: float  # sum of squares, for a quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """A constituent that a request of a log found cold: the standard path would start it."""

    request_id: str
    pool: str
    service: str  # the constituent
    at_ms: int
    serve_ms: int = 0  # how long it then serves the request, if the log says so


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedUse:
    """A warm instance serves a request of a log, which says how long that took."""

    request_id: str
    pool: str
    service: str  # the constituent
    instance_id: str
    at_ms: int
    serve_ms: int
