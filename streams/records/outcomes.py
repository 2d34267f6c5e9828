"""What became of a request, and what is learnt from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from streams.records.instances import MeasuredWarmUp
from streams.records.requests import Source

__all__ = ["Feedback", "Outcome", "Part", "Result", "Route"]


class Result(enum.StrEnum):
    """How warm a request's constituents were."""

    HIT = "hit"  # every one
    PARTIAL = "partial"  # some
    MISS = "miss"  # none


class Route(enum.StrEnum):
    """The way a request took."""

    PREALLOCATED = "preallocated"  # straight to warm instances
    STANDARD = "standard"  # waited for at least one to start
    REFUSED = "refused"  # queue full or deadline passed: 503
    OBSERVED = "observed"  # not served by us; judged from a log


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one constituent did for a request."""

    service: str  # the constituent
    warm: bool  # an instance was ready before the request
    instance_id: str = ""
    wait_ms: int = 0  # waited for an instance to start
    serve_ms: int = 0  # time the instance took
    warm_up_ms: int | None = None  # measured start-up time, when one was waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a request went: exactly one for each request."""

    request_id: str
    user: str
    tier: str
    pool: str
    service: str  # the composite
    at_ms: int  # event time of the request
    result: Result
    route: Route
    status: int  # HTTP status answered; 0 when only observed
    latency_ms: float  # whole request, as measured; 0 when only observed
    cold_ms: int  # cold-start time on the critical path
    saved_ms: int  # cold-start time that warm instances took off the critical path
    parts: tuple[Part, ...]
    source: Source = Source.LOG


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """The start-up times that a request has waited for; aggregator and allocator learn them."""

    request_id: str
    user: str
    tier: str
    pool: str
    service: str  # the composite that came
    at_ms: int
    result: Result
    warm_ups: tuple[MeasuredWarmUp, ...] = ()  # start-up times measured by this request
