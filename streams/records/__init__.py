"""The vocabulary: what travels on the topics.

Every record is frozen and keyword-only; times are integer milliseconds since the epoch
(event time), durations are milliseconds, sizes carry their unit in the comment.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.records.catalog import CatalogEntry, Resources
from streams.records.control import Control
from streams.records.trials import Trial
from streams.records.verdicts import Verdict

__all__ = [
    "Action",
    "Command",
    "DeadLetter",
    "Demand",
    "Feedback",
    "Instance",
    "InstanceState",
    "MeasuredWarmUp",
    "Outcome",
    "Part",
    "Prediction",
    "Record",
    "Request",
    "Result",
    "Route",
    "ServiceDemand",
    "ServiceProbability",
    "Source",
    "Utilisation",
]


class Source(enum.StrEnum):
    """Where a request was seen."""

    LOG = "log"  # a log shipper: the stream interceptor says what would have been
    GATEWAY = "gateway"  # served by us: the gateway has written its outcome


class Action(enum.StrEnum):
    """What a command asks of the provisioner."""

    PROVISION = "provision"  # start `count` instances
    RELEASE = "release"  # end `count` idle instances
    QUEUE = "queue"  # wanted, does not fit now: kept with its priority until it expires


class InstanceState(enum.StrEnum):
    """The life of an instance: starting -> warm <-> busy -> draining -> gone."""

    STARTING = "starting"  # process spawned, no request answered yet
    WARM = "warm"  # has answered a real request, free
    BUSY = "busy"  # serving as many requests as it may
    DRAINING = "draining"  # finishes what it serves, takes nothing new
    GONE = "gone"  # ended, or crashed (the reason says which)


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


# --------------------------------------------------------------------------- requests, predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A user asked for a composite service."""

    request_id: str  # unique; deterministic for a recorded log
    user: str
    service: str  # the composite
    at_ms: int  # event time
    parameters: Mapping[str, str] = field(default_factory=dict)
    tier: str = "standard"
    pool: str = "default"  # the resources that serve it
    source: Source = Source.LOG


class ServiceProbability(NamedTuple):
    """One entry of a user's vector; as a tuple, since they are made by the million."""

    service: str
    probability: float  # that it is the user's next composite, whenever that comes
    within: float  # that the user asks for it within the horizon, now or a few requests later


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a user asks for next, and when: the user's prediction vector."""

    request_id: str  # the request that caused it
    user: str
    services: tuple[ServiceProbability, ...]  # most probable first
    unseen: float  # mass kept for a service never seen; with `services` it sums to 1
    horizon_ms: int  # what `within` refers to, counted from made_ms
    expected_ms: tuple[int, int, int]  # gap to the next request: 10 %, 50 %, 90 % quantile
    made_ms: int  # event time of the request that caused it
    expires_ms: int  # after this it says nothing any more
    model: str  # model version
    tier: str = "standard"
    pool: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDemand:
    """Expected requests for a composite from one tier, summed over users."""

    service: str  # the composite
    tier: str
    expected: float  # sum over users of p (`within`)
    variance: float  # sum over users of p (1 - p): Poisson-binomial
    seen: int = 0  # requests that came so far; cumulative, and begun anew now and then


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredWarmUp:
    """Start-up times of a constituent, as measured; cumulative, so repeating it is harmless."""

    service: str  # the constituent
    count: int
    total_ms: int
    squares_ms2: float  # sum of squares, for a quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the users of one partition are expected to ask of one pool."""

    pool: str
    partition: int  # of `predictions`
    at_ms: int  # event time of the tick
    horizon_ms: int
    services: tuple[ServiceDemand, ...]
    warm_ups: tuple[MeasuredWarmUp, ...] = ()
    expires_ms: int = 0  # after this it is dropped from the pool's sum


# --------------------------------------------------------------------------- decisions, instances


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance of a constituent; its last record tells its whole life."""

    instance_id: str
    service: str  # the constituent
    pool: str
    state: InstanceState
    endpoint: str  # http://host:port, empty before there is one
    command_id: str  # the command that started it, or standard/<request id>
    started_ms: int  # spawned
    changed_ms: int  # entered `state`
    warm_since_ms: int | None = None  # first answered request
    gone_ms: int | None = None
    uses: int = 0  # requests served so far
    busy_ms: int = 0  # time spent serving so far
    reason: str = ""  # why it is in this state

    def warm_at(self, at_ms: int) -> bool:
        """Whether it could have served at `at_ms`: event time decides, never arrival order."""
        if self.warm_since_ms is None or self.warm_since_ms > at_ms:
            return False
        if self.state is InstanceState.DRAINING and self.changed_ms <= at_ms:
            return False
        return self.gone_ms is None or at_ms < self.gone_ms


# --------------------------------------------------------------------------- outcomes, feedback


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
    """What profiler and allocator learn from an outcome."""

    request_id: str
    user: str
    tier: str
    pool: str
    service: str  # the composite that came
    at_ms: int
    result: Result
    cold_ms: int
    saved_ms: int
    hit_rate: float  # of this user, exponentially weighted
    drift: bool  # the user's hits have changed for the worse (HDDM-A): forget faster
    warm_ups: tuple[MeasuredWarmUp, ...] = ()  # start-up times measured by this request


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that could not be used, whole, with the reason."""

    topic: str
    partition: int
    offset: int
    stage: str  # who gave up on it
    reason: str
    at_ms: int  # timestamp of the record
    key: bytes | None
    value: bytes | None


Record = (
    Request
    | Prediction
    | Demand
    | CatalogEntry
    | Control
    | Utilisation
    | Command
    | Verdict
    | Trial
    | Instance
    | Outcome
    | Feedback
    | DeadLetter
)
