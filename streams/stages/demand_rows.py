"""The aggregator's state: users' last vectors, and whole-number sums of them.

Probabilities are kept in units of 2^-20 and sums in whole numbers, so adding a vector and
taking it away again leaves exactly nothing: no drift, whatever the order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streams.models.wire import Reader, Writer
from streams.records import MeasuredWarmUp, Prediction, ServiceDemand
from streams.stages.rows import from_row, to_row

__all__ = ["UNIT", "PoolRow", "Roster", "Row", "Sums", "Vector", "decode", "encode"]

UNIT = 1 << 20  # one, in units of probability
MOST_SERVICES = 64  # entries kept of a user's vector; the least probable ones are left out

VECTOR, SUMS, POOL, ROSTER = range(1, 5)  # first byte; a new form of a row takes a new number


@dataclass(frozen=True, slots=True)
class Vector:
    """What a user adds to a pool's sums until it is replaced or expires."""

    pool: str
    tier: str
    until_ms: int  # the bucket that it expires with
    entries: tuple[tuple[str, int], ...]  # composite, probability within the horizon in units

    @classmethod
    def of(cls, prediction: Prediction, until_ms: int) -> Vector:
        """The part of a prediction that matters here."""
        units = [(s.service, round(min(1.0, s.within) * UNIT)) for s in prediction.services]
        units = sorted((u for u in units if u[1] > 0), key=lambda u: (-u[1], u[0]))
        return cls(prediction.pool, prediction.tier, until_ms, tuple(units[:MOST_SERVICES]))


@dataclass(slots=True)
class Sums:
    """Sums over users per composite and tier: p in units, p (1 - p) in squared units."""

    rows: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def add(self, service: str, tier: str, expected: int, variance: int) -> None:
        """Add to one sum; one that comes to nothing is dropped."""
        before = self.rows.get((service, tier), (0, 0))
        total = (before[0] + expected, before[1] + variance)
        if total == (0, 0):
            self.rows.pop((service, tier), None)
        else:
            self.rows[service, tier] = total

    def add_vector(self, vector: Vector, sign: int) -> None:
        """Add a user's vector, or take it away with sign -1."""
        for service, p in vector.entries:
            self.add(service, vector.tier, sign * p, sign * p * (UNIT - p))

    def take(self, other: Sums) -> None:
        """Take other sums away from these."""
        for (service, tier), (expected, variance) in other.rows.items():
            self.add(service, tier, -expected, -variance)

    def demand(self) -> tuple[ServiceDemand, ...]:
        """These sums as they travel, in order of name."""
        return tuple(
            ServiceDemand(service=service, tier=tier, expected=e / UNIT, variance=v / (UNIT * UNIT))
            for (service, tier), (e, v) in sorted(self.rows.items())
        )


@dataclass(slots=True)
class PoolRow:
    """A pool's sums over all live vectors, and what was measured of its constituents."""

    sums: Sums = field(default_factory=Sums)
    ends: dict[int, int] = field(default_factory=dict)  # bucket -> probability that goes with it
    warm_ups: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    horizon_ms: int = 0

    def measure(self, m: MeasuredWarmUp) -> None:
        """Add start-up times of a constituent."""
        count, total, squares = self.warm_ups.get(m.service, (0, 0, 0.0))
        added = (count + m.count, total + m.total_ms, squares + m.squares_ms2)
        self.warm_ups[m.service] = added


@dataclass(frozen=True, slots=True)
class Roster:
    """The pools of a partition, and how far its event time has come."""

    now_ms: int = -1
    pools: tuple[str, ...] = ()


Row = Vector | Sums | PoolRow | Roster


def encode(row: Row) -> bytes:
    """The bytes of any row."""
    match row:
        case Vector():
            return _vector_bytes(row)
        case Sums():
            return to_row(SUMS, _flat(row))
        case PoolRow():
            warm_ups = [[name, *values] for name, values in row.warm_ups.items()]
            ends = list(row.ends.items())
            return to_row(POOL, [_flat(row.sums), ends, warm_ups, row.horizon_ms])
        case Roster():
            return to_row(ROSTER, [row.now_ms, row.pools])


def decode(data: bytes) -> Row:
    """The row of these bytes."""
    if data[:1] == bytes((VECTOR,)):
        return _vector_of(data)
    kind, value = from_row(data, range(SUMS, ROSTER + 1))
    if kind == SUMS:
        return _sums_of(value)
    if kind == ROSTER:
        return Roster(value[0], tuple(value[1]))
    sums, ends, warm_ups, horizon_ms = value
    measured = {name: (count, total, squares) for name, count, total, squares in warm_ups}
    return PoolRow(_sums_of(sums), dict(ends), measured, horizon_ms)


def _flat(sums: Sums) -> list[list[Any]]:
    return [[*names, *values] for names, values in sums.rows.items()]


def _sums_of(flat: list[list[Any]]) -> Sums:
    return Sums({(service, tier): (e, v) for service, tier, e, v in flat})


def _vector_bytes(vector: Vector) -> bytes:
    out = Writer()
    out.uints((VECTOR, vector.until_ms, len(vector.entries)))
    out.text(vector.pool)
    out.text(vector.tier)
    for service, p in vector.entries:
        out.text(service)
        out.uint(p)
    return bytes(out.data)


def _vector_of(data: bytes) -> Vector:
    inp = Reader(data, 1)
    until_ms, count = inp.uint(), inp.uint()
    pool, tier = inp.text(), inp.text()
    entries = tuple((inp.text(), inp.uint()) for _ in range(count))
    inp.end()
    return Vector(pool, tier, until_ms, entries)
