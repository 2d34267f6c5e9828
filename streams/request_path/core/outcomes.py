"""The outcome of a request, from its measured parts; pure."""

from __future__ import annotations

from collections.abc import Mapping

from streams.catalog.critical_path import Steps, cold_ms
from streams.records import Outcome, Part, Request, Result, Route, Source

__all__ = ["outcome_of"]


def outcome_of(
    request: Request,
    steps: Steps,
    parts: Mapping[str, Part],
    start_up_ms: Mapping[str, int],
    *,
    status: int,
    latency_ms: float,
) -> Outcome:
    """The outcome of a request that was served or refused.

    Parameters
    ----------
    request, steps
        The request, and the steps of its composite.
    parts
        One for every constituent.
    start_up_ms
        Start-up time of every constituent: what a warm one saved.
    status, latency_ms
        HTTP status of the answer, and how long it took.
    """
    warm = [part.warm for part in parts.values()].count(True)
    waited = {name: part.wait_ms for name, part in parts.items()}
    cold = cold_ms(steps, waited.__getitem__)
    if_cold = {n: start_up_ms[n] if parts[n].warm else ms for n, ms in waited.items()}
    all_cold = cold_ms(steps, if_cold.__getitem__)
    route = Route.PREALLOCATED if warm == len(parts) else Route.STANDARD
    if status == 503 and not all(part.instance_id for part in parts.values()):
        route = Route.REFUSED  # else an instance has said so
    return Outcome(
        request_id=request.request_id,
        user=request.user,
        tier=request.tier,
        pool=request.pool,
        service=request.service,
        at_ms=request.at_ms,
        result=Result.HIT if warm == len(parts) else Result.PARTIAL if warm else Result.MISS,
        route=route,
        status=status,
        latency_ms=latency_ms,
        cold_ms=cold,
        saved_ms=all_cold - cold,
        parts=tuple(parts.values()),
        source=Source.GATEWAY,
    )
