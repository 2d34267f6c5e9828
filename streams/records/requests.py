"""The request that a user makes, and how far a log of requests has come."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Request", "Source", "Watermark"]


class Source(enum.StrEnum):
    """Where a request was seen."""

    LOG = "log"  # a log shipper: the stream interceptor says what would have been
    GATEWAY = "gateway"  # served by us: the gateway has written its outcome


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """A log that is being produced has come so far: nothing from before follows here."""

    log: str  # one run of `foremesh produce`
    source: str  # name of its file
    at_ms: int  # latest event time of its requests so far
    number: int  # its requests so far, on all partitions
    complete: bool = False  # none follows at all
