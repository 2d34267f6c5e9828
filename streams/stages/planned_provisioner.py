"""Stage "provisioner": simulates the instances of commands, for dry runs and recorded logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import replace

from streams.records import (
    Action,
    ColdStart,
    Command,
    Instance,
    InstanceState,
    LoggedUse,
    Record,
    Utilisation,
)
from streams.records.catalog import Catalog, Resources
from streams.records.instances import ON_REQUEST
from streams.stages.admission import admit_cold_start, admit_command, admit_logged_use
from streams.stages.base import EventDriven, StepContext
from streams.stages.planned_pool import (
    PlannedInstance,
    PlannedPool,
    gives_way,
    instance_record,
    planned_form,
    planned_of,
    start_needs,
)
from streams.stages.row_encoding import from_row, to_row

__all__ = ["EFFECT_MS", "PlannedProvisioner", "started_on_request"]

VERSION = 2
EFFECT_MS = 1  # after a command: when what it causes begins
STANDARD_MS = 10_000  # a start on request is not made when it is late by so much


class PlannedProvisioner(EventDriven):
    """Stage "provisioner": simulates commands in event time.

    An instance is warm its warm-up time after the command. What a command causes begins a
    millisecond after it, so a request of the very time of the command finds the same whether it
    is judged before or after. State: one row a pool.
    """

    name = "provisioner"

    def step(
        self, event: Record, state: MutableMapping[str, PlannedPool], context: StepContext
    ) -> Iterable[Record]:
        """Execute a command unless it was executed, has expired or exceeds the capacity.

        What a request found cold is started too, unless one is there that is free. Which instance
        serves a request is busy, if the log says for how long.
        """
        assert isinstance(event, Command | ColdStart | LoggedUse)
        if event.pool not in context.catalog.pools:
            return ()
        match event:
            case Command():
                return _executed(event, state, context, event.command_id)
            case ColdStart():
                return _started(event, state, context)
            case LoggedUse():
                return _used(event, state, context)

    def encode(self, value: PlannedPool) -> bytes:
        """The bytes of a pool's row."""
        return to_row(VERSION, planned_form(value))

    def decode(self, data: bytes) -> PlannedPool:
        """The row of these bytes."""
        return planned_of(from_row(data, range(1, VERSION + 1))[1])


def _executed(
    command: Command, state: MutableMapping[str, PlannedPool], context: StepContext, cause: str
) -> Iterable[Record]:
    """Execute a command; its instances name the cause, as those of a provisioner do."""
    admit_command(command, context)
    pool, known = state.get(command.pool) or PlannedPool(), context.catalog
    pool.now_ms = max(pool.now_ms, command.issued_ms)
    state[command.pool] = pool
    if (
        command.action is Action.QUEUE
        or command.command_id in pool.done
        or command.expires_ms <= pool.now_ms
    ):
        return ()
    pool.done = {c: end for c, end in pool.done.items() if end > pool.now_ms}
    pool.done[command.command_id] = command.expires_ms
    provision = command.action is Action.PROVISION
    changed = tuple(_start(command, pool, known, cause) if provision else _release(command, pool))
    return (*changed, _utilisation(command.pool, pool, known))


def _started(
    cold: ColdStart, state: MutableMapping[str, PlannedPool], context: StepContext
) -> Iterable[Record]:
    """Start what a request found cold, and have it served by what is free first."""
    admit_cold_start(cold)
    pool = state.get(cold.pool) or PlannedPool()
    at_ms = _at_ms(cold, context)
    made: list[Record] = []
    if all(planned.busy_until_ms > at_ms for _, planned in _of(cold.service, pool)):
        name = f"{cold.request_id}/{cold.service}"
        start = started_on_request(name, cold.pool, cold.service, at_ms, STANDARD_MS)
        state[cold.pool] = pool
        made += _give_way(cold, at_ms, pool, context.catalog)
        made += _executed(start, state, context, f"{ON_REQUEST}{cold.request_id}")
    there = _of(cold.service, pool)
    if cold.serve_ms and there:
        name, _ = min(there, key=lambda each: (each[1].free_from_ms, each[0]))
        state[cold.pool] = pool
        made.append(_serving(name, cold, at_ms, pool, context.catalog))
    return made


def _give_way(
    cold: ColdStart, at_ms: int, pool: PlannedPool, catalog: Catalog
) -> Iterator[Instance]:
    """End what others leave idle, the longest unused first, until a start for a request fits.

    So a provisioner does, see `provisioners.core.pool_provisioner`.
    """
    if cold.service not in catalog.constituents:
        return
    needs = start_needs(cold.service, catalog, {planned.service for planned in pool.live.values()})
    capacity = catalog.pools[cold.pool].capacity
    if needs.fits(capacity - _resources(pool, catalog)) or not needs.fits(capacity):
        return
    spared = {cold.service, catalog.constituents[cold.service].base}
    idle = [
        (planned.idle_since_ms, name)
        for name, planned in pool.live.items()
        if planned.service not in spared and gives_way(planned.idle_since_ms, at_ms)
    ]
    for _, name in sorted(idle):
        yield _gone(name, cold.pool, pool, at_ms + EFFECT_MS, "gave way to a request")
        if needs.fits(capacity - _resources(pool, catalog)):
            return


def _used(
    use: LoggedUse, state: MutableMapping[str, PlannedPool], context: StepContext
) -> Iterable[Record]:
    """Have an instance serve a request."""
    admit_logged_use(use)
    pool = state.get(use.pool)
    if pool is None or use.instance_id not in pool.live:
        return ()
    state[use.pool] = pool
    return (_serving(use.instance_id, use, _at_ms(use, context), pool, context.catalog),)


def _at_ms(event: ColdStart | LoggedUse, context: StepContext) -> int:
    """Its time, which is of a user's clock: at most that of its record."""
    return min(event.at_ms, context.record_ms or event.at_ms)


def _serving(
    name: str, served: ColdStart | LoggedUse, at_ms: int, pool: PlannedPool, catalog: Catalog
) -> Instance:
    known = catalog.constituents.get(served.service)
    at_once = known.at_once if known else 1
    pool.live[name] = pool.live[name].serving(at_ms, served.serve_ms, at_once)
    return instance_record(name, served.pool, pool.live[name])


def _of(service: str, pool: PlannedPool) -> list[tuple[str, PlannedInstance]]:
    """The instances of a constituent."""
    return [(name, planned) for name, planned in pool.live.items() if planned.service == service]


def _start(command: Command, pool: PlannedPool, catalog: Catalog, cause: str) -> Iterator[Instance]:
    constituent = catalog.constituents.get(command.service)
    if constituent is None:
        return
    begun_ms = command.issued_ms
    if constituent.base in catalog.constituents:
        base_id = f"{command.command_id}/base"
        base = replace(command, command_id=base_id, service=constituent.base, count=1)
        if not _ready_ms(base, pool):
            yield from _start(base, pool, catalog, cause)
        if not (ready_ms := _ready_ms(base, pool)):
            return
        begun_ms = max(begun_ms, min(ready_ms))
    capacity, used = catalog.pools[command.pool].capacity, _resources(pool, catalog)
    for k in range(1, command.count + 1):
        if not constituent.needs.fits(capacity - used):
            return
        used += constituent.needs
        warm_since_ms = begun_ms + max(EFFECT_MS, constituent.warm_up_ms)
        planned = PlannedInstance(command.service, cause, command.issued_ms, warm_since_ms)
        name = f"{command.command_id}/{k}"
        pool.live[name] = planned
        yield instance_record(name, command.pool, planned)


def started_on_request(name: str, pool: str, service: str, at_ms: int, life_ms: int) -> Command:
    """The start that the standard path makes for a request that finds no instance."""
    return Command(
        command_id=f"{ON_REQUEST}{name}",
        pool=pool,
        action=Action.PROVISION,
        service=service,
        count=1,
        value=0.0,
        cost=0.0,
        priority=0.0,
        issued_ms=at_ms,
        expires_ms=at_ms + life_ms,
        reason="a request found none",
    )


def _ready_ms(command: Command, pool: PlannedPool) -> list[int]:
    """Times at which the instances of a command's constituent become warm."""
    return [planned.warm_since_ms for _, planned in _of(command.service, pool)]


def _release(command: Command, pool: PlannedPool) -> Iterator[Instance]:
    """End the instances of the constituent that became warm last; those that are busy stay."""
    there = _of(command.service, pool)
    names = [name for name, planned in there if planned.serves_until_ms <= pool.now_ms]
    names.sort(key=lambda name: (pool.live[name].warm_since_ms, name), reverse=True)
    gone_ms = command.issued_ms + EFFECT_MS
    for name in names[: command.count]:
        yield _gone(name, command.pool, pool, gone_ms, f"released by {command.command_id}")


def _gone(name: str, of: str, pool: PlannedPool, gone_ms: int, reason: str) -> Instance:
    planned = instance_record(name, of, pool.live.pop(name))
    return replace(
        planned,
        state=InstanceState.GONE,
        # One that is not warm yet is on its topic and in the tables by when it would have been.
        changed_ms=max(gone_ms, planned.changed_ms),
        gone_ms=gone_ms,
        reason=reason,
    )


def _resources(pool: PlannedPool, catalog: Catalog) -> Resources:
    return catalog.needs_of(planned.service for planned in pool.live.values())


def _utilisation(name: str, pool: PlannedPool, catalog: Catalog) -> Utilisation:
    capacity = catalog.pools[name].capacity
    return Utilisation(
        pool=name, at_ms=pool.now_ms, capacity=capacity, used=_resources(pool, catalog)
    )
