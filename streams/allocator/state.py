"""The allocator's state: per pool what is under way, per partition the demand last heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from streams.allocator.calibration import Watch
from streams.records import Demand, MeasuredWarmUp, ServiceDemand, Utilisation
from streams.records.catalog import Resources
from streams.records.control import Control, Mode, Pin, Quota, Variant
from streams.stages.state_rows import from_row, to_row

__all__ = [
    "DEMAND",
    "PoolRow",
    "Queued",
    "Releasing",
    "Row",
    "Starting",
    "decode",
    "encode",
    "pool_form",
    "pool_of",
]

POOL_1, DEMAND_1, POOL, DEMAND = range(1, 5)  # first byte; a new form of a row takes a new number


@dataclass(frozen=True, slots=True)
class Starting:
    """A provision command whose instances have not all been seen yet."""

    service: str
    count: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Releasing:
    """A release command: of these instances so many are to go."""

    service: str
    count: int
    expires_ms: int
    of: tuple[str, ...]  # instance ids that could serve when it was issued


@dataclass(frozen=True, slots=True)
class Queued:
    """Something wanted that does not fit."""

    command_id: str
    since_ms: int  # first time that it did not fit
    expires_ms: int


@dataclass(frozen=True, slots=True)
class PoolRow:
    """What is remembered of a pool; a value, as are its mappings: who changes one makes a new one."""

    now_ms: int = 0
    decided_ms: int = 0  # event time of the last decision
    heard: frozenset[int] = frozenset()  # partitions that have sent demand since
    serial: int = 0  # of the last command
    partitions: tuple[int, ...] = ()  # that have sent demand
    utilisation: Utilisation | None = None
    control: Control | None = None
    starting: Mapping[str, Starting] = field(default_factory=dict)  # by command id
    releasing: Mapping[str, Releasing] = field(default_factory=dict)  # by command id
    queue: Mapping[str, Queued] = field(default_factory=dict)  # by constituent
    below: Mapping[str, int] = field(default_factory=dict)  # constituent -> not worth it since
    held: Mapping[str, int] = field(default_factory=dict)  # constituent -> not to be taken until
    said: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # see `verdicts`
    watch: Watch = field(default_factory=Watch)


Row = PoolRow | Demand


def encode(row: Row) -> bytes:
    """The bytes of either row."""
    if isinstance(row, Demand):
        return to_row(DEMAND, _demand_form(row))
    return to_row(POOL, pool_form(row))


def pool_form(row: PoolRow) -> list[Any]:
    """A pool's row as plain values."""
    used = row.utilisation
    return [
        row.now_ms,
        row.serial,
        row.partitions,
        [used.pool, used.at_ms, _amounts(used.capacity), _amounts(used.used)] if used else None,
        {k: [s.service, s.count, s.expires_ms] for k, s in row.starting.items()},
        {k: [r.service, r.count, r.expires_ms, r.of] for k, r in row.releasing.items()},
        {k: [q.command_id, q.since_ms, q.expires_ms] for k, q in row.queue.items()},
        row.below,
        row.held,
        row.decided_ms,
        sorted(row.heard),
        asdict(row.control) if row.control else None,
        row.said,
        row.watch.form(),
    ]


def decode(data: bytes) -> Row:
    """The row of these bytes."""
    kind, value = from_row(data, range(POOL_1, DEMAND + 1))
    return _demand_of(value) if kind in {DEMAND_1, DEMAND} else pool_of(value)


def pool_of(value: list[Any]) -> PoolRow:
    """The row of these plain values."""
    now_ms, serial, partitions, used, starting, releasing, queue, below, held, *more = value
    decided_ms, heard, control, said, watch = more or (
        0,
        (),
        None,
        {},
        None,
    )  # version 1 has no more
    return PoolRow(
        now_ms=now_ms,
        decided_ms=decided_ms,
        heard=frozenset(heard),
        serial=serial,
        partitions=tuple(partitions),
        utilisation=_utilisation_of(used) if used else None,
        starting={k: Starting(*v) for k, v in starting.items()},
        releasing={
            k: Releasing(service, n, end, tuple(of))
            for k, (service, n, end, of) in releasing.items()
        },
        queue={k: Queued(*v) for k, v in queue.items()},
        below=below,
        held=held,
        control=_control_of(control) if control else None,
        watch=Watch.of(watch) if watch else Watch(),
        said={name: (choice, doublings) for name, (choice, doublings) in said.items()},
    )


def _control_of(value: dict[str, Any]) -> Control:
    pins = [Pin(**{**pin, "days": tuple(pin["days"])}) for pin in value.pop("pins")]
    quotas = [Quota(**quota) for quota in value.pop("quotas")]
    variants = tuple(Variant(**variant) for variant in value.pop("variants", ()))
    mode = Mode(value.pop("mode"))
    return Control(**value, mode=mode, pins=tuple(pins), quotas=tuple(quotas), variants=variants)


def _amounts(resources: Resources) -> list[float]:
    return [resources.cpu, resources.memory, resources.bandwidth]


def _resources(amounts: list[float]) -> Resources:
    cpu, memory, bandwidth = amounts
    return Resources(cpu=cpu, memory=memory, bandwidth=bandwidth)


def _utilisation_of(value: list[Any]) -> Utilisation:
    pool, at_ms, capacity, used = value
    return Utilisation(pool=pool, at_ms=at_ms, capacity=_resources(capacity), used=_resources(used))


def _demand_form(d: Demand) -> list[Any]:
    return [
        d.pool,
        d.partition,
        d.at_ms,
        d.horizon_ms,
        d.expires_ms,
        [[s.service, s.tier, s.expected, s.variance, s.seen] for s in d.services],
        [[m.service, m.count, m.total_ms, m.squares_ms2] for m in d.warm_ups],
    ]


def _demand_of(value: list[Any]) -> Demand:
    pool, partition, at_ms, horizon_ms, expires_ms, services, warm_ups = value
    return Demand(
        pool=pool,
        partition=partition,
        at_ms=at_ms,
        horizon_ms=horizon_ms,
        expires_ms=expires_ms,
        services=tuple(
            ServiceDemand(service=s, tier=t, expected=e, variance=v, seen=sum(seen))
            for s, t, e, v, *seen in services  # the first version has no counts
        ),
        warm_ups=tuple(
            MeasuredWarmUp(service=s, count=n, total_ms=total, squares_ms2=squares)
            for s, n, total, squares in warm_ups
        ),
    )
