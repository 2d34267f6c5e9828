"""Sums what users are expected to ask for, so that the allocator need not know the users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, replace

from streams.records import Demand, Feedback, MeasuredWarmUp, Prediction, Record
from streams.stages.base import Context
from streams.stages.demand_rows import PoolRow, Roster, Row, Sums, Vector, decode, encode

__all__ = ["Aggregator", "Config"]

ROSTER = "\x00pools"
GRAIN = 16  # a vector may expire early by this part of its life: few buckets, whatever the lives

State = MutableMapping[str, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Parameters of the stage."""

    tick_ms: int = 1_000  # how often demand is sent
    most_pools: int = 1_000  # pools a partition sums for; predictions for further ones are left out
    most_constituents: int = 10_000  # of a pool whose start-up times are kept


class Aggregator:
    """Stage "aggregator": the sum over users, per pool, composite and tier.

    State: `u/<user>` the user's last vector; per pool one row of running sums, and one for each
    bucket of expiry times, so that whatever expires is taken away bucket by bucket without
    looking at users: a tick costs pools x buckets, however many users there are.
    """

    name = "aggregator"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()

    def step(self, event: Record, state: State, context: Context) -> Iterable[Record]:
        """Take a prediction or a feedback in; only predictions move event time."""
        if isinstance(event, Feedback):
            self._measure(event, state)
            return ()
        assert isinstance(event, Prediction)
        # A time in the future must not expire what is of the present.
        now_ms = min(event.made_ms, context.record_ms or event.made_ms)
        roster = _roster(state)
        self._replace(event, max(now_ms, roster.now_ms), state)
        if now_ms // self.config.tick_ms <= roster.now_ms // self.config.tick_ms:
            return ()
        return tuple(self._demands(now_ms, state, context))

    def tick(self, now_ms: int, state: State, context: Context) -> Iterable[Record]:
        """Send the demand as it stands at `now_ms`; time never goes back."""
        return tuple(self._demands(max(now_ms, _roster(state).now_ms), state, context))

    def encode(self, value: Row) -> bytes:
        """The bytes of a row; see `demand_rows`."""
        return encode(value)

    def decode(self, data: bytes) -> Row:
        """The row of these bytes."""
        return decode(data)

    def _measure(self, feedback: Feedback, state: State) -> None:
        if not feedback.warm_ups:
            return
        row = self._pool(feedback.pool, state)
        if row is None:
            return
        for measured in feedback.warm_ups:
            known = measured.service in row.warm_ups
            if known or len(row.warm_ups) < self.config.most_constituents:
                row.measure(measured)
        state[_pool_key(feedback.pool)] = row

    def _replace(self, prediction: Prediction, now_ms: int, state: State) -> None:
        """Take the user's old vector out of the sums and put the new one in."""
        key = f"u/{prediction.user}"
        old = state.get(key)
        if isinstance(old, Vector):
            _book(old, -1, state)
            del state[key]
        row = self._pool(prediction.pool, state)
        vector = Vector.of(prediction, self._until_ms(prediction, now_ms))
        if row is None or vector.until_ms <= now_ms or not vector.entries:
            return
        row.horizon_ms = prediction.horizon_ms
        _book(vector, +1, state)
        state[key] = vector

    def _until_ms(self, prediction: Prediction, now_ms: int) -> int:
        """The end of the vector's life, rounded down to a grid as coarse as its life is long."""
        width = self.config.tick_ms
        while (prediction.expires_ms - now_ms) > 2 * GRAIN * width:
            width *= 2
        return prediction.expires_ms // width * width

    def _pool(self, pool: str, state: State) -> PoolRow | None:
        row = state.get(_pool_key(pool))
        if isinstance(row, PoolRow):
            return row
        roster = _roster(state)
        if pool not in roster.pools:
            if len(roster.pools) >= self.config.most_pools:
                return None
            state[ROSTER] = replace(roster, pools=(*roster.pools, pool))
        state[_pool_key(pool)] = row = PoolRow()
        return row

    def _demands(self, now_ms: int, state: State, context: Context) -> Iterator[Demand]:
        roster = _roster(state)
        keep: list[str] = []
        for pool in roster.pools:
            row = state.get(_pool_key(pool))
            if not isinstance(row, PoolRow):
                continue
            _expire(pool, row, now_ms, state)
            yield self._demand(pool, row, now_ms, context.partition)
            if row.ends or row.warm_ups:
                keep.append(pool)
            else:
                del state[_pool_key(pool)]
        if now_ms != roster.now_ms or len(keep) != len(roster.pools):
            state[ROSTER] = Roster(now_ms, tuple(keep))

    def _demand(self, pool: str, row: PoolRow, now_ms: int, partition: int) -> Demand:
        return Demand(
            pool=pool,
            partition=partition,
            at_ms=now_ms,
            horizon_ms=row.horizon_ms,
            services=row.sums.demand(),
            warm_ups=tuple(
                MeasuredWarmUp(service=name, count=count, total_ms=total, squares_ms2=squares)
                for name, (count, total, squares) in sorted(row.warm_ups.items())
            ),
            expires_ms=max(_half_life(row), now_ms + 3 * self.config.tick_ms),
        )


def _roster(state: State) -> Roster:
    row = state.get(ROSTER)
    return row if isinstance(row, Roster) else Roster()


def _pool_key(pool: str) -> str:
    return f"\x00pool/{pool}"


def _bucket_key(pool: str, until_ms: int) -> str:
    return f"\x00until/{until_ms}/{pool}"


def _book(vector: Vector, sign: int, state: State) -> None:
    """Enter a vector into its pool and bucket, or with -1 take it out if still in there."""
    row = state.get(_pool_key(vector.pool))
    key = _bucket_key(vector.pool, vector.until_ms)
    bucket = state.get(key, Sums())
    if not isinstance(row, PoolRow) or not isinstance(bucket, Sums):
        return
    if sign < 0 and vector.until_ms not in row.ends:
        return  # the whole bucket has expired
    row.sums.add_vector(vector, sign)
    bucket.add_vector(vector, sign)
    left = row.ends.get(vector.until_ms, 0) + sign * sum(p for _, p in vector.entries)
    if left:
        row.ends[vector.until_ms] = left
        state[key] = bucket
    else:
        del row.ends[vector.until_ms]
        state.pop(key, None)
    state[_pool_key(vector.pool)] = row


def _expire(pool: str, row: PoolRow, now_ms: int, state: State) -> None:
    for until_ms in [end for end in row.ends if end <= now_ms]:
        bucket = state.pop(_bucket_key(pool, until_ms), None)
        if isinstance(bucket, Sums):
            row.sums.take(bucket)
        del row.ends[until_ms]
        state[_pool_key(pool)] = row


def _half_life(row: PoolRow) -> int:
    """When half of the expected requests will have expired, should nothing follow, in ms."""
    half, gone = sum(row.ends.values()) / 2, 0
    for until_ms, units in sorted(row.ends.items()):
        gone += units
        if gone >= half:
            return until_ms
    return 0
