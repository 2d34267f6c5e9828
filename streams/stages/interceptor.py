"""Hit or miss: the decision that the gateway and the stream interceptor share."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

from streams.catalog.critical_path import Steps, cold_ms, serve_ms, start_ms, steps_of
from streams.records import (
    ColdStart,
    Instance,
    LoggedUse,
    Outcome,
    Part,
    Record,
    Request,
    Result,
    Route,
    Source,
    Watermark,
)
from streams.stages.base import EventDriven, StepContext, admit
from streams.stages.planned_pool import gives_way, start_needs

__all__ = ["Interception", "Interceptor", "intercept"]


@dataclass(frozen=True, slots=True)
class Interception:
    """Which constituents of a request are warm, and the cold-start time of the others."""

    parts: tuple[Part, ...]  # in order of first use; a warm part names its instance
    result: Result
    cold_ms: int  # cold-start time on the critical path
    saved_ms: int  # cold-start time that warm instances saved


def intercept(
    steps: Steps,
    instances: Mapping[str, Sequence[Instance]],
    at_ms: int,
    warm_up_ms: Mapping[str, int],
    without_room: Container[str] = (),
) -> Interception:
    """Decide which constituents of a composite are warm at `at_ms`.

    Parameters
    ----------
    steps
        The composite's constituents; those of a step run in parallel.
    instances
        Per constituent those that the request may have, best first: the first that is warm and
        free is it. One that is still starting, or busy, shortens the wait to the rest of that.
    at_ms
        Event time of the request.
    warm_up_ms
        Start-up time per constituent; one not named counts as 0.
    without_room
        The constituents of which no other instance can be started: those there are waited for.
    """
    names = list(dict.fromkeys(name for step in steps for name in step))
    parts = {
        n: _part(n, instances.get(n, ()), at_ms, warm_up_ms.get(n, 0), room=n not in without_room)
        for n in names
    }
    cold = cold_ms(steps, lambda name: parts[name].wait_ms)
    at_worst = max(cold, cold_ms(steps, lambda name: warm_up_ms.get(name, 0)))
    warm = sum(part.warm for part in parts.values())
    result = Result.HIT if warm == len(parts) else Result.PARTIAL if warm else Result.MISS
    return Interception(tuple(parts.values()), result, cold, at_worst - cold)


def _part(
    name: str, instances: Sequence[Instance], at_ms: int, warm_up_ms: int, *, room: bool
) -> Part:
    for instance in instances:
        if _free_at(instance, at_ms):
            return Part(service=name, warm=True, instance_id=instance.instance_id)
    waits = [_wait_ms(i, warm_up_ms, at_ms) for i in instances if _later_free(i, at_ms)]
    waits += [warm_up_ms] if room or not waits else []
    return Part(service=name, warm=False, wait_ms=min(waits))


def _free_at(instance: Instance, at_ms: int) -> bool:
    return instance.warm_at(at_ms) and instance.busy_until_ms <= at_ms


def _later_free(instance: Instance, at_ms: int) -> bool:
    """Whether it was starting, or busy; one started at this very time does not count."""
    later = instance.free_from_ms is None or instance.free_from_ms > at_ms
    ended = instance.gone_ms is not None and instance.gone_ms <= at_ms
    return instance.started_ms < at_ms and later and not ended


def _wait_ms(instance: Instance, warm_up_ms: int, at_ms: int) -> int:
    ready_ms = instance.free_from_ms or instance.started_ms + warm_up_ms
    return max(0, ready_ms - at_ms)


class Interceptor(EventDriven):
    """Stage "interceptor": judges requests of a log; those served already have an outcome."""

    name = "interceptor"

    def step(
        self, event: Record, state: MutableMapping[str, None], context: StepContext
    ) -> Iterable[Record]:
        """Judge a request."""
        del state
        if isinstance(event, Watermark):
            return ()
        assert isinstance(event, Request)
        if event.source is Source.GATEWAY:
            return ()
        asked = admit(event, context)
        steps = steps_of(context.catalog, asked.service)
        instances = _by_service(steps, asked, context)
        without_room = _without_room(instances, asked, context) if asked.serve_ms else ()
        warm_ups = _warm_ups(steps, asked, context)
        found = intercept(steps, instances, asked.at_ms, warm_ups, without_room)
        serving = serve_ms(steps, asked.serve_ms)
        parts = tuple(replace(part, serve_ms=serving[part.service]) for part in found.parts)
        uses = _uses(asked, parts, instances)
        return (_outcome(asked, replace(found, parts=parts)), *uses)

    def encode(self, value: None) -> bytes:
        """No state, no bytes."""
        del value
        return b""

    def decode(self, data: bytes) -> None:
        """No state, no bytes."""
        if data:
            raise ValueError("the interceptor keeps no state, yet there are bytes of it")


def _warm_ups(steps: Steps, event: Request, context: StepContext) -> dict[str, int]:
    """Start-up time of each constituent, given which bases are warm."""
    known = context.catalog.constituents
    names = {name for step in steps for name in step} & known.keys()
    bases = {known[name].base for name in names} & known.keys()
    warm = {
        instance.service
        for instance in (context.instances.values() if bases else ())
        if instance.pool == event.pool and instance.warm_at(event.at_ms)
    }

    def own_ms(name: str) -> int:
        return known[name].warm_up_ms

    return {name: round(start_ms(name, context.catalog, own_ms, warm)) for name in names}


def _without_room(
    instances: Mapping[str, Sequence[Instance]], event: Request, context: StepContext
) -> set[str]:
    """Constituents of which no instance is free, and for which the pool has and gets no room."""
    known, pool = context.catalog.constituents, context.catalog.pools.get(event.pool)
    missing = [
        name
        for name, there in instances.items()
        if name in known and not any(_free_at(instance, event.at_ms) for instance in there)
    ]
    if pool is None or not missing:
        return set()
    alive = [i for i in context.instances.values() if i.pool == event.pool and i.gone_ms is None]
    names = {instance.service for instance in alive}
    spared = {*missing, *(known[name].base for name in missing)}
    staying = [i.service for i in alive if i.service in spared or not _gives_way(i, event.at_ms)]
    free = pool.capacity - context.catalog.needs_of(staying)
    found: set[str] = set()
    for name in missing:
        needs = start_needs(name, context.catalog, names)
        if needs.fits(free):
            free -= needs
        else:
            found.add(name)
    return found


def _gives_way(instance: Instance, at_ms: int) -> bool:
    warm_ms = instance.warm_since_ms
    return warm_ms is not None and gives_way(max(warm_ms, instance.serves_until_ms), at_ms)


def _by_service(steps: Steps, event: Request, context: StepContext) -> dict[str, list[Instance]]:
    """Instances of these constituents in the request's pool, the longest warm first."""
    found: dict[str, list[Instance]] = {name: [] for step in steps for name in step}
    for instance in context.instances.values():
        if instance.service in found and instance.pool == event.pool:
            found[instance.service].append(instance)
    for instances in found.values():
        instances.sort(key=lambda i: (i.warm_since_ms or i.started_ms, i.instance_id))
    return found


def _serves(instances: Iterable[Instance]) -> bool:
    """Whether one of them is warm or will be."""
    return any(instance.gone_ms is None for instance in instances)


def _uses(
    request: Request, parts: Iterable[Part], instances: Mapping[str, Sequence[Instance]]
) -> list[ColdStart | LoggedUse]:
    """What a simulated pool must hear of a request: what serves it, then what it found cold.

    Of what serves it for no time only where something is cold, to which it must not give way.
    """
    found = {"request_id": request.request_id, "pool": request.pool}
    cold = [
        ColdStart(**found, service=part.service, at_ms=request.at_ms, serve_ms=part.serve_ms)
        for part in parts
        if not part.warm and (part.serve_ms or not _serves(instances[part.service]))
    ]
    served = [
        LoggedUse(
            **found,
            service=part.service,
            instance_id=part.instance_id,
            at_ms=request.at_ms,
            serve_ms=part.serve_ms,
        )
        for part in parts
        if part.warm and (part.serve_ms or cold)
    ]
    return [*served, *cold]


def _outcome(request: Request, found: Interception) -> Outcome:
    return Outcome(
        request_id=request.request_id,
        user=request.user,
        tier=request.tier,
        pool=request.pool,
        service=request.service,
        at_ms=request.at_ms,
        result=found.result,
        route=Route.OBSERVED,
        status=0,
        latency_ms=0.0,
        cold_ms=found.cold_ms,
        saved_ms=found.saved_ms,
        parts=found.parts,
    )
