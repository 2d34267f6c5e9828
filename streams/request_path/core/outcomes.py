"""What became of a request, from its parts as they were measured."""

from __future__ import annotations

from collections.abc import Mapping

from streams.catalog.critical_path import Steps, cold_ms
from streams.records import Outcome, Part, Request, Result, Route, Source

__all__ = ["outcome_of"]


def outcome_of(
    asked: Request,
    steps: Steps,
    parts: Mapping[str, Part],
    usual_ms: Mapping[str, int],
    *,
    status: int,
    latency_ms: float,
) -> Outcome:
    """The outcome of a request that was served, or refused.

    Parameters
    ----------
    asked, steps
        The request, and what its composite is made of.
    parts
        One for every constituent.
    usual_ms
        Start-up time of every constituent, for what the warm ones saved.
    status, latency_ms
        What was answered, and how long that took.
    """
    warm = [part.warm for part in parts.values()].count(True)
    waited = {name: part.wait_ms for name, part in parts.items()}
    cold = cold_ms(steps, waited.__getitem__)
    usually = {n: usual_ms[n] if parts[n].warm else ms for n, ms in waited.items()}
    without = cold_ms(steps, usually.__getitem__)
    route = Route.PREALLOCATED if warm == len(parts) else Route.STANDARD
    return Outcome(
        request_id=asked.request_id,
        user=asked.user,
        tier=asked.tier,
        pool=asked.pool,
        service=asked.service,
        at_ms=asked.at_ms,
        result=Result.HIT if warm == len(parts) else Result.PARTIAL if warm else Result.MISS,
        route=Route.REFUSED if status == 503 else route,
        status=status,
        latency_ms=latency_ms,
        cold_ms=cold,
        saved_ms=without - cold,
        parts=tuple(parts.values()),
        source=Source.GATEWAY,
    )
