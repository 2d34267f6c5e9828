"""Stage "provisioner": simulates the instances of commands, for dry runs and recorded logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import replace

from streams.records import Action, ColdStart, Command, Instance, InstanceState, Record, Utilisation
from streams.records.catalog import Catalog, Resources
from streams.records.instances import ON_REQUEST
from streams.stages.admission import admit_cold_start, admit_command
from streams.stages.base import EventDriven, StepContext
from streams.stages.planned_pool import (
    PlannedInstance,
    PlannedPool,
    instance_record,
    planned_form,
    planned_of,
)
from streams.stages.row_encoding import from_row, to_row

__all__ = ["PlannedProvisioner", "started_on_request"]

VERSION = 1
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

        What a request found cold is started too, unless an instance is there by now.
        """
        assert isinstance(event, Command | ColdStart)
        known = context.catalog
        if event.pool not in known.pools:
            return ()
        if isinstance(event, ColdStart):
            admit_cold_start(event)
            live = (state.get(event.pool) or PlannedPool()).live.values()
            if any(planned.service == event.service for planned in live):
                return ()
            cause = f"{event.request_id}/{event.service}"
            at_ms = min(event.at_ms, context.record_ms or event.at_ms)  # of a user's clock
            event = started_on_request(cause, event.pool, event.service, at_ms, STANDARD_MS)
        admit_command(event, context)
        pool = state.get(event.pool) or PlannedPool()
        pool.now_ms = max(pool.now_ms, event.issued_ms)
        state[event.pool] = pool
        if (
            event.action is Action.QUEUE
            or event.command_id in pool.done
            or event.expires_ms <= pool.now_ms
        ):
            return ()
        pool.done = {c: end for c, end in pool.done.items() if end > pool.now_ms}
        pool.done[event.command_id] = event.expires_ms
        provision = event.action is Action.PROVISION
        changed = tuple(_start(event, pool, known) if provision else _release(event, pool))
        return (*changed, _utilisation(event.pool, pool, known))

    def encode(self, value: PlannedPool) -> bytes:
        """The bytes of a pool's row."""
        return to_row(VERSION, planned_form(value))

    def decode(self, data: bytes) -> PlannedPool:
        """The row of these bytes."""
        return planned_of(from_row(data, range(VERSION, VERSION + 1))[1])


def _start(command: Command, pool: PlannedPool, catalog: Catalog) -> Iterator[Instance]:
    constituent = catalog.constituents.get(command.service)
    if constituent is None:
        return
    begun_ms = command.issued_ms
    if constituent.base in catalog.constituents:
        base_id = f"{command.command_id}/base"
        base = replace(command, command_id=base_id, service=constituent.base, count=1)
        if not _ready_ms(base, pool):
            yield from _start(base, pool, catalog)
        if not (ready_ms := _ready_ms(base, pool)):
            return
        begun_ms = max(begun_ms, min(ready_ms))
    capacity, used = catalog.pools[command.pool].capacity, _used(pool, catalog)
    for k in range(1, command.count + 1):
        if not constituent.needs.fits(capacity - used):
            return
        used += constituent.needs
        warm_since_ms = begun_ms + max(1, constituent.warm_up_ms)
        planned = PlannedInstance(
            command.service, command.command_id, command.issued_ms, warm_since_ms
        )
        name = f"{command.command_id}/{k}"
        pool.live[name] = planned
        yield instance_record(name, command.pool, planned)


def started_on_request(cause: str, pool: str, service: str, at_ms: int, life_ms: int) -> Command:
    """The start that the standard path makes for a request that finds no instance."""
    return Command(
        command_id=f"{ON_REQUEST}{cause}",
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
    return [p.warm_since_ms for p in pool.live.values() if p.service == command.service]


def _release(command: Command, pool: PlannedPool) -> Iterator[Instance]:
    """End the instances of the constituent that became warm last."""
    names = [name for name, p in pool.live.items() if p.service == command.service]
    names.sort(key=lambda name: (pool.live[name].warm_since_ms, name), reverse=True)
    gone_ms = command.issued_ms + 1
    for name in names[: command.count]:
        yield replace(
            instance_record(name, command.pool, pool.live.pop(name)),
            state=InstanceState.GONE,
            changed_ms=gone_ms,
            gone_ms=gone_ms,
            reason=f"released by {command.command_id}",
        )


def _used(pool: PlannedPool, catalog: Catalog) -> Resources:
    cpu = memory = bandwidth = 0.0
    for planned in pool.live.values():
        constituent = catalog.constituents.get(planned.service)
        if constituent:
            cpu += constituent.needs.cpu
            memory += constituent.needs.memory
            bandwidth += constituent.needs.bandwidth
    return Resources(cpu=cpu, memory=memory, bandwidth=bandwidth)


def _utilisation(name: str, pool: PlannedPool, catalog: Catalog) -> Utilisation:
    capacity = catalog.pools[name].capacity
    return Utilisation(pool=name, at_ms=pool.now_ms, capacity=capacity, used=_used(pool, catalog))
