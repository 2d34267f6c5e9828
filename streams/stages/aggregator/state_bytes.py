"""The versioned bytes of the aggregator's rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

import numpy as np

from streams.models.arrival.phases import PHASES
from streams.models.arrival.silence import SilenceHazard
from streams.models.state_bytes import StateReader, packed
from streams.stages.aggregator.heard import HeardUser
from streams.stages.aggregator.state import (
    FormerRow,
    PoolRoster,
    PoolSums,
    Row,
    SeriesSums,
    SilenceBucket,
    SilentUser,
    UserTally,
)
from streams.stages.aggregator.tempo import DemandTempo
from streams.stages.row_encoding import from_row, to_row

__all__ = ["decode", "encode"]

# First byte of a row; a new form of a row takes a new number.
(
    VECTOR_1, SUMS_1, POOL_1, ROSTER_1, POOL_2, USER_1, BUCKET_1, POOL, ROSTER, HEARD, USER, BUCKET,
) = range(1, 13)  # fmt: skip


def encode(row: Row) -> bytes:
    """The bytes of any row."""
    match row:
        case SilentUser():
            return to_row(USER, _user_form(row))
        case SilenceBucket():
            return to_row(BUCKET, _bucket_form(row))
        case PoolSums():
            return to_row(POOL, _pool_form(row))
        case PoolRoster():
            return to_row(ROSTER, row)
        case HeardUser():
            return to_row(HEARD, row.form())
        case FormerRow():
            return bytes((VECTOR_1,))


def decode(data: bytes) -> Row:
    """The row of these bytes.

    Raises
    ------
    ValueError
        The bytes are damaged or of an unknown version.
    """
    if data and data[0] <= POOL_2:
        return _former(StateReader(data))
    kind, form = from_row(data, range(USER_1, BUCKET + 1))
    return READERS[kind](form)


def _user_form(user: SilentUser) -> list[Any]:
    tallies = [[context, t.asked, t.expected] for context, t in user.tallies.items()]
    return [
        user.pool,
        user.epoch,
        user.last_ms,
        user.entered_ms,
        user.context,
        user.series.tolist(),
        user.vectors.tolist(),
        tallies,
    ]


def _former_user_of(form: list[Any]) -> SilentUser:
    """Before there were phases: one vector for the session, one for all that is later."""
    *known, session, later, tallies = form
    return _user_of([*known, [session, later, later], tallies])


def _user_of(form: list[Any]) -> SilentUser:
    pool, epoch, last_ms, entered_ms, context, series, vectors, tallies = form
    return SilentUser(
        pool,
        epoch,
        last_ms,
        entered_ms,
        context,
        np.array(series, np.int64),
        np.array(vectors, np.int64).reshape(PHASES, len(series)),
        {number: UserTally(asked, expected) for number, asked, expected in tallies},
    )


def _bucket_form(bucket: SilenceBucket) -> list[Any]:
    sums = [_sums_form(vector) for vector in bucket.vectors]
    return [bucket.rate, bucket.users, bucket.entered_ms, bucket.mass, sums]


def _former_bucket_of(form: list[Any]) -> SilenceBucket:
    *known, session, later = form
    return _bucket_of([*known, [session, later, later]])


def _bucket_of(form: list[Any]) -> SilenceBucket:
    rate, users, entered_ms, mass, vectors = form
    return SilenceBucket(rate, users, entered_ms, mass, [_sums_of(*each) for each in vectors])


def _sums_form(sums: SeriesSums) -> list[Any]:
    used = np.flatnonzero(sums.values)
    return [used.tolist(), sums.values[used].tolist()]


def _sums_of(series: list[int], values: list[int]) -> SeriesSums:
    sums = SeriesSums()
    if series:
        sums.add(np.array(series, np.int64), np.array(values, np.int64))
    return sums


def _pool_form(row: PoolSums) -> list[Any]:
    return [
        row.epoch,
        row.passed_ms,
        [[service, tier, i] for (service, tier), i in row.series.items()],
        _sums_form(row.early),
        _sums_form(row.late),
        [row.rate, row.late_rate, row.news],
        row.ends,
        packed(row.hazard.cells),
        astuple(row.tempo),
        [[name, *values] for name, values in row.warm_ups.items()],
        list(row.seen.items()),
    ]


def _pool_of(form: list[Any]) -> PoolSums:
    epoch, passed_ms, series, early, late, rates, ends, cells, tempo, warm_ups, seen = form
    rate, late_rate, news = rates
    return PoolSums(
        epoch,
        passed_ms,
        {(service, tier): i for service, tier, i in series},
        _sums_of(*early),
        _sums_of(*late),
        rate,
        late_rate,
        news,
        [(end_ms, context, stage) for end_ms, context, stage in ends],
        SilenceHazard.of(cells),
        DemandTempo(*tempo),
        {name: (count, total, squares) for name, count, total, squares in warm_ups},
        dict(seen),
    )


def _roster_of(form: list[Any]) -> PoolRoster:
    now_ms, pools, *times = form
    return PoolRoster(now_ms, tuple(pools), *times)


def _former(inp: StateReader) -> Row:
    """A row of an earlier release: start-up times, counts and time are kept, sums begin anew."""
    kind = inp.uint()
    if kind == ROSTER_1:
        now_ms, pools, epochs, leap_ms = json.loads(inp.text())
        return PoolRoster(now_ms, tuple(pools), epochs + 1, leap_ms)
    if kind not in {POOL_1, POOL_2}:
        if not kind:
            raise ValueError(f"a row of the aggregator has the unknown form {kind}")
        return FormerRow()
    epoch, _, passed_ms, names, ends, measured, *more = json.loads(inp.text())
    return PoolSums(
        epoch,
        passed_ms,
        {(service, tier): i for service, tier, i in names},
        ends=sorted((end_ms, -1, -1) for end_ms, _ in ends),
        warm_ups={name: (count, total, squares) for name, count, total, squares in measured},
        seen=dict(*more),  # the first version has no counts
    )


READERS: Mapping[int, Callable[[list[Any]], Row]] = {
    USER_1: _former_user_of,
    BUCKET_1: _former_bucket_of,
    USER: _user_of,
    BUCKET: _bucket_of,
    POOL: _pool_of,
    ROSTER: _roster_of,
    HEARD: HeardUser.of,
}
