"""The request that a user makes."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Request", "Source"]


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
