"""State of the aggregator: each user's last vector, and integer sums of them.

Probabilities are kept in units of 2^-20 and sums in whole numbers, so adding a vector and
taking it away again leaves exactly nothing: no drift, whatever the order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.models.state_bytes import StateReader, StateWriter
from streams.records import MeasuredWarmUp, ServiceDemand
from streams.stages.admission import MOST_MS

__all__ = ["UNIT", "PoolRoster", "PoolSums", "Row", "SeriesSums", "UserVector", "decode", "encode"]

UNIT = 1 << 20  # one, in units of probability

VECTOR, SUMS, POOL_1, ROSTER, POOL = range(
    1, 6
)  # first byte; a new form of a row takes a new number

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UserVector:
    """A user's contribution to a pool's sums until it is replaced or expires."""

    pool: str
    epoch: int  # of the pool's series
    series: Whole  # series of the pool, one per entry
    within: Whole  # probability within the horizon right after the request, in units
    steps: tuple[tuple[int, int], ...]  # valid until (ms), `within` times this, in units

    def alive(self, since_ms: int) -> tuple[list[int], Whole]:
        """Ends of the steps that end after `since_ms`, with a row of probabilities for each."""
        left = [step for step in self.steps if step[0] > since_ms]
        factors = np.array([factor for _, factor in left], np.int64)
        rows = np.minimum(UNIT, (factors[:, None] * self.within) >> 20)
        return [until_ms for until_ms, _ in left], rows


@dataclass(slots=True)
class SeriesSums:
    """Sums over users per series: p in units, and p (1 - p) in squared units."""

    values: Whole = field(default_factory=lambda: np.zeros((2, 0), np.int64))

    @property
    def size(self) -> int:
        """Number of series allocated."""
        return int(self.values.shape[1])

    def add(self, series: Whole, change: Whole) -> None:
        """Add both sums (rows of `change`) to some series, each named once."""
        try:
            self.values[:, series] += change
        except IndexError:
            self._grow(2 * int(series.max()) + 1)
            self.values[:, series] += change

    def take(self, other: SeriesSums) -> None:
        """Subtract other sums from these."""
        if other.size > self.size:
            self._grow(other.size)
        self.values[:, : other.size] -= other.values

    def _grow(self, size: int) -> None:
        grown = np.zeros((2, size), np.int64)  # np.pad takes ten times as long
        grown[:, : self.size] = self.values
        self.values = grown


@dataclass(slots=True)
class PoolSums:
    """Sums over the live vectors of a pool, and measured start-up times."""

    epoch: int = 0
    horizon_ms: int = 0
    expired_ms: int = -1  # buckets up to this time are subtracted
    series: dict[tuple[str, str], int] = field(default_factory=dict)  # composite, tier
    sums: SeriesSums = field(default_factory=SeriesSums)
    ends: dict[int, int] = field(default_factory=dict)  # bucket -> probability that ends with it
    warm_ups: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)  # series -> requests so far

    def count(self, service: str, tier: str, most: int) -> None:
        """Count a request, unless its series would exceed the limit."""
        pair = (service, tier)
        if pair in self.series or len(self.series) < most:
            i = self.series.setdefault(pair, len(self.series))
            self.seen[i] = self.seen.get(i, 0) + 1

    def measure(self, m: MeasuredWarmUp) -> None:
        """Add start-up times of a constituent, as long as a demand may carry their sums."""
        count, total, squares = self.warm_ups.get(m.service, (0, 0, 0.0))
        added = (count + m.count, total + m.total_ms, squares + m.squares_ms2)
        if max(added[:2]) <= MOST_MS and squares + m.squares_ms2 <= float(MOST_MS) ** 2:
            self.warm_ups[m.service] = added

    def demand(self) -> tuple[ServiceDemand, ...]:
        """The sums as records, in order of name."""
        found = []
        for (service, tier), i in sorted(self.series.items()):
            expected, variance = self.sums.values[:, i].tolist() if i < self.sums.size else (0, 0)
            if expected or i in self.seen:
                found.append(
                    ServiceDemand(
                        service=service,
                        tier=tier,
                        expected=expected / UNIT,
                        variance=variance / UNIT**2,
                        seen=self.seen.get(i, 0),
                    )
                )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class PoolRoster:
    """The pools of a partition, its event time, and the epochs assigned."""

    now_ms: int = -1
    pools: tuple[str, ...] = ()
    epochs: int = 0
    leap_ms: int = -1  # a time far ahead seen in one record; a second one confirms it


Row = UserVector | SeriesSums | PoolSums | PoolRoster


def encode(row: Row) -> bytes:
    """The bytes of any row."""
    out = StateWriter()
    match row:
        case UserVector():
            _write_vector(row, out)
        case SeriesSums():
            out.uint(SUMS)
            _write_sums(row, out)
        case PoolSums():
            _write_pool(row, out)
        case PoolRoster():
            out.uint(ROSTER)
            out.text(json.dumps([row.now_ms, row.pools, row.epochs, row.leap_ms]))
    return bytes(out.data)


def decode(data: bytes) -> Row:
    """The row of these bytes.

    Raises
    ------
    ValueError
        The bytes are damaged or of an unknown version.
    """
    inp = StateReader(data)
    kind = inp.uint()
    if kind == VECTOR:
        row: Row = _read_vector(inp)
    elif kind == SUMS:
        row = _read_sums(inp)
    elif kind in {POOL_1, POOL}:
        row = _read_pool(inp)
    elif kind == ROSTER:
        now_ms, pools, epochs, leap_ms = json.loads(inp.text())
        row = PoolRoster(now_ms, tuple(pools), epochs, leap_ms)
    else:
        raise ValueError(f"a row of the aggregator has the unknown form {kind}")
    inp.end()
    return row


def _write_vector(vector: UserVector, out: StateWriter) -> None:
    out.uint(VECTOR)
    out.text(vector.pool)
    out.uints((vector.epoch, len(vector.series), len(vector.steps)))
    out.uints(vector.series.tolist())
    out.uints(vector.within.tolist())
    for step in vector.steps:
        out.uints(step)


def _read_vector(inp: StateReader) -> UserVector:
    pool = inp.text()
    epoch, entries, steps = inp.uints(3)
    series = np.array(inp.uints(entries), np.int64)
    within = np.array(inp.uints(entries), np.int64)
    return UserVector(
        pool, epoch, series, within, tuple((inp.uint(), inp.uint()) for _ in range(steps))
    )


def _write_sums(sums: SeriesSums, out: StateWriter) -> None:
    used = np.flatnonzero(sums.values.any(axis=0))
    for values in (used, *sums.values[:, used]):
        out.blob(values.astype("<i8").tobytes())


def _read_sums(inp: StateReader) -> SeriesSums:
    series, expected, variance = (np.frombuffer(inp.blob(), "<i8") for _ in range(3))
    sums = SeriesSums()
    sums.add(series, np.stack([expected, variance]))
    return sums


def _write_pool(row: PoolSums, out: StateWriter) -> None:
    out.uint(POOL)
    names = [[service, tier, i] for (service, tier), i in row.series.items()]
    measured = [[name, *values] for name, values in row.warm_ups.items()]
    head = [row.epoch, row.horizon_ms, row.expired_ms, names, list(row.ends.items()), measured]
    head.append(list(row.seen.items()))
    out.text(json.dumps(head, separators=(",", ":")))
    _write_sums(row.sums, out)


def _read_pool(inp: StateReader) -> PoolSums:
    epoch, horizon_ms, expired_ms, names, ends, measured, *more = json.loads(inp.text())
    return PoolSums(
        epoch,
        horizon_ms,
        expired_ms,
        {(service, tier): i for service, tier, i in names},
        _read_sums(inp),
        dict(ends),
        {name: (count, total, squares) for name, count, total, squares in measured},
        dict(*more),  # the first version has no counts
    )
