"""The allocator's state: one row per pool, and the latest demand per partition and pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from streams.allocator.calibration import DemandCalibration, Pair
from streams.allocator.published_verdicts import PublishedVerdicts
from streams.records import Demand, MeasuredWarmUp, ServiceDemand, Utilisation
from streams.records.catalog import Resources
from streams.records.control import STANDARD, Control, Mode, Pin, Quota, Variant
from streams.stages.row_encoding import from_row, to_row

__all__ = [
    "PAST",
    "SHARED",
    "SHARED_1",
    "TRIAL",
    "PoolOrDemand",
    "PoolState",
    "ProvisionUnderWay",
    "QueuedWant",
    "ReleaseUnderWay",
    "decode",
    "encode",
    "pool_form",
    "pool_of",
]

# First byte of a row: its format.
POOL_1, DEMAND_1, POOL, DEMAND_2, TRIAL, DEMAND, PAST, SHARED_1, SHARED = range(1, 10)

NONE: Mapping[Any, Any] = {}


@dataclass(frozen=True, slots=True)
class ProvisionUnderWay:
    """A provision command whose instances have not all been reported yet."""

    service: str
    count: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class ReleaseUnderWay:
    """A release command: `count` of the instances in `of` are to end."""

    service: str
    count: int
    expires_ms: int
    of: tuple[str, ...]  # ids of the instances that could serve when it was issued


@dataclass(frozen=True, slots=True)
class QueuedWant:
    """A want that did not fit into the pool."""

    command_id: str
    since_ms: int  # when it first did not fit
    expires_ms: int


class PoolState(NamedTuple):
    """State of a pool. Immutable, its mappings included: each step makes several.

    A named tuple, because a copy of it takes a fifth of the time that one of a dataclass does.
    """

    now_ms: int = 0
    decided_ms: int = 0  # event time of the last decision
    heard: frozenset[int] = frozenset()  # partitions that have reported since then
    serial: int = 0  # number of the last command
    partitions: tuple[int, ...] = ()  # that have ever reported demand
    utilisation: Utilisation | None = None
    control: Control | None = None
    starting: Mapping[str, ProvisionUnderWay] = NONE  # by command id
    releasing: Mapping[str, ReleaseUnderWay] = NONE  # by command id
    queue: Mapping[str, QueuedWant] = NONE  # by constituent
    below: Mapping[str, int] = NONE  # constituent -> since when an idle instance does not pay
    held: Mapping[str, int] = NONE  # constituent -> until when its instances are not preempted
    said: PublishedVerdicts = PublishedVerdicts()
    calibration: DemandCalibration = DemandCalibration()
    next_ms: int = 0  # see `next_decision_ms`
    unlearnt: Mapping[Pair, int] = NONE  # requests since the last decision

    @property
    def champion(self) -> Variant:
        """The parameters to decide by."""
        return self.control.champion if self.control else STANDARD


PoolOrDemand = PoolState | Demand


def encode(row: PoolOrDemand) -> bytes:
    """Serialise a row of either kind."""
    if isinstance(row, Demand):
        return to_row(DEMAND, _demand_form(row))
    return to_row(POOL, pool_form(row))


def pool_form(row: PoolState) -> list[Any]:
    """The state of a pool as plain values."""
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
        row.said.by_name,
        row.calibration.form(),
        row.next_ms,
        [[*pair, count] for pair, count in row.unlearnt.items()],
    ]


def decode(data: bytes) -> PoolOrDemand:
    """Deserialise a row of either kind, in any known format."""
    kind, value = from_row(data, range(POOL_1, DEMAND + 1))
    return pool_of(value) if kind in {POOL_1, POOL} else _demand_of(kind, value)


def pool_of(value: list[Any]) -> PoolState:
    """The state of a pool from plain values."""
    now_ms, serial, partitions, used, starting, releasing, queue, below, held, *more = value
    # The first format ends here; `next_ms` and what is behind it came later.
    decided_ms, heard, control, said, calibration, *later = more or (0, (), None, {}, None)
    next_ms = later[0] if later else 0
    unlearnt = later[1] if later[1:] else ()
    return PoolState(
        now_ms=now_ms,
        decided_ms=decided_ms,
        heard=frozenset(heard),
        serial=serial,
        partitions=tuple(partitions),
        utilisation=_utilisation_of(used) if used else None,
        starting={k: ProvisionUnderWay(*v) for k, v in starting.items()},
        releasing={
            k: ReleaseUnderWay(service, n, end, tuple(of))
            for k, (service, n, end, of) in releasing.items()
        },
        queue={k: QueuedWant(*v) for k, v in queue.items()},
        below=below,
        held=held,
        control=_control_of(control) if control else None,
        calibration=DemandCalibration.of(calibration) if calibration else DemandCalibration(),
        said=PublishedVerdicts({name: (choice, far) for name, (choice, far) in said.items()}),
        next_ms=next_ms,
        unlearnt={(service, tier): count for service, tier, count in unlearnt},
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
        [[s.service, s.tier, s.expected, s.seen] for s in d.services],
        [[m.service, m.count, m.total_ms, m.squares_ms2] for m in d.warm_ups],
    ]


def _demand_of(kind: int, value: list[Any]) -> Demand:
    pool, partition, at_ms, horizon_ms, expires_ms, services, warm_ups = value
    return Demand(
        pool=pool,
        partition=partition,
        at_ms=at_ms,
        horizon_ms=horizon_ms,
        expires_ms=expires_ms,
        services=tuple(
            # Formats 1 and 2 have a variance after the expected requests, and 1 has no count.
            ServiceDemand(service=s, tier=t, expected=e, seen=0 if kind == DEMAND_1 else last)
            for s, t, e, *_, last in services
        ),
        warm_ups=tuple(
            MeasuredWarmUp(service=s, count=n, total_ms=total, squares_ms2=squares)
            for s, n, total, squares in warm_ups
        ),
    )
