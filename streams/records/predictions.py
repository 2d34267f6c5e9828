"""What users are expected to ask for: a vector a user, and its sum over users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from streams.records.instances import MeasuredWarmUp

__all__ = ["Demand", "Prediction", "ServiceDemand", "ServiceProbability"]


class ServiceProbability(NamedTuple):
    """One entry of a user's vector; a tuple, because millions of them are made."""

    service: str
    probability: float  # that it is the user's next composite, at whatever time
    within: float  # that the user asks for it within the horizon, now or a few requests later
    # Demand is made of these, whatever the horizon: the same within a minute, and that the next
    # request is for it if it comes later within 8 hours, and if it comes later than that.
    soon: float = 0.0
    later: float = 0.0
    another_day: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a user asks for next, and when: the user's prediction vector."""

    request_id: str  # the request that caused it
    user: str
    services: tuple[ServiceProbability, ...]  # most probable first
    unseen: float  # probability of a composite not listed; with `services` it sums to 1
    horizon_ms: int  # what `within` refers to, counted from made_ms
    expected_ms: tuple[int, int, int]  # gap to the next request: 10 %, 50 %, 90 % quantile
    soon: float = 0.0  # that the next request comes within a minute
    made_ms: int  # event time of the request that caused it
    expires_ms: int  # event time after which it is void
    model: str  # model version
    tier: str = "standard"
    pool: str = "default"
    asked: str = ""  # the composite that the request was for


class ServiceDemand(NamedTuple):
    """Expected requests for a composite from one tier; a tuple, because very many are made."""

    service: str  # the composite
    tier: str
    expected: float  # within the horizon, if users keep asking at the rate of now
    seen: int = 0  # requests so far; cumulative, and reset now and then


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Expected requests of the users of one partition to one pool."""

    pool: str
    partition: int  # of `predictions`
    at_ms: int  # event time of the tick
    horizon_ms: int
    services: tuple[ServiceDemand, ...]
    warm_ups: tuple[MeasuredWarmUp, ...] = ()
    expires_ms: int = 0  # after this it is dropped from the pool's sum
