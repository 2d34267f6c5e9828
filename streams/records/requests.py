"""The request that a user makes, and how far a log of requests has come."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MOST_SERVE_MS", "Request", "Source", "Watermark"]

MOST_SERVE_MS = 366 * 24 * 3600 * 1000  # that a log may say a request was served


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
    serve_ms: int = 0  # how long it was served, if its log says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """A log that is being produced has come so far: nothing from before follows here."""

    log: str  # one run of `foremesh produce`
    source: str  # name of its file
    at_ms: int  # latest event time of its requests so far
    number: int  # its requests so far, on all partitions
    complete: bool = False  # none follows at all
