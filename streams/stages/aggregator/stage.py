"""Stage "aggregator": sums the vectors of users per pool, so that the allocator knows no user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, replace

import numpy as np

from streams.records import Demand, Feedback, MeasuredWarmUp, Prediction, Record
from streams.stages.admission import admit_feedback, admit_prediction
from streams.stages.aggregator.hazard import asks_after, soon
from streams.stages.aggregator.state import (
    UNIT,
    PoolRoster,
    PoolSums,
    Row,
    SeriesSums,
    UserVector,
    decode,
    encode,
)
from streams.stages.base import StepContext

__all__ = ["Aggregator", "AggregatorConfig"]

ROSTER = "\x00pools"

State = MutableMapping[str, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorConfig:
    """Parameters of the stage."""

    tick_ms: int = 1_000  # how often demand is sent
    growth: float = 2.5  # ratio of the ends of successive steps of a vector's lifetime
    most_steps: int = 8  # steps of a lifetime; a longer lifetime has longer steps
    grain: int = 8  # a step may end early by 1 / grain of its length, to share buckets
    leap_ms: int = 86_400_000  # a larger jump of event time needs a second record
    most_pools: int = 1_000  # pools of a partition; vectors of further pools are ignored
    most_series: int = 20_000  # composites x tiers of a pool
    most_constituents: int = 10_000  # of a pool whose start-up times are kept


class Aggregator:
    """Sums over users, per pool, composite and tier.

    A user who falls silent is expected less and less, or more and more when the time of a
    regular one comes near (see `hazard`): a vector's life has steps, each with a factor.

    State: `u/<user>` the user's last vector; per pool one row of running sums, and one for each
    bucket of times at which a step ends, with what is then to be taken away. So time passes
    bucket by bucket without a look at users: a tick costs pools x buckets, not users.
    """

    name = "aggregator"

    def __init__(self, config: AggregatorConfig | None = None) -> None:
        self.config = config or AggregatorConfig()

    def step(self, event: Record, state: State, context: StepContext) -> Iterable[Record]:
        """Process a prediction or feedback; only predictions advance event time."""
        if isinstance(event, Feedback):
            admit_feedback(event)
            self._learn(event, state)
            return ()
        assert isinstance(event, Prediction)
        admit_prediction(event)
        # A time in the future must not expire current vectors.
        now_ms = min(event.made_ms, context.record_ms or event.made_ms)
        self._replace(event, state)
        roster = _roster(state)
        if now_ms // self.config.tick_ms <= roster.now_ms // self.config.tick_ms:
            return ()
        if 0 <= roster.now_ms < now_ms - self.config.leap_ms:
            state[ROSTER] = replace(roster, leap_ms=now_ms)
            if abs(now_ms - roster.leap_ms) > self.config.leap_ms:
                return ()
        return tuple(self._demands(now_ms, state, context))

    def tick(self, now_ms: int, state: State, context: StepContext) -> Iterable[Record]:
        """Publish the demand at `now_ms`; time never goes back."""
        return tuple(self._demands(max(now_ms, _roster(state).now_ms), state, context))

    def encode(self, value: Row) -> bytes:
        """The bytes of a row; see `state`."""
        return encode(value)

    def decode(self, data: bytes) -> Row:
        """The row of these bytes."""
        return decode(data)

    def _learn(self, feedback: Feedback, state: State) -> None:
        row = self._pool(feedback.pool, state)
        if row is None:
            return
        row.count(feedback.service, feedback.tier, self.config.most_series)
        for measured in feedback.warm_ups:
            known = measured.service in row.warm_ups
            if known or len(row.warm_ups) < self.config.most_constituents:
                row.measure(measured)
        state[_pool_key(feedback.pool)] = row

    def _replace(self, prediction: Prediction, state: State) -> None:
        """Replace the user's vector in the sums."""
        key = f"u/{prediction.user}"
        old = state.pop(key, None)
        if isinstance(old, UserVector):
            _book(old, -1, state)
        row = self._pool(prediction.pool, state)
        if row is None:
            return
        row.horizon_ms = prediction.horizon_ms
        vector = self._vector(prediction, row)
        state[_pool_key(prediction.pool)] = row
        if vector.series.size and vector.alive(row.expired_ms)[0]:
            _book(vector, +1, state)
            state[key] = vector

    def _vector(self, prediction: Prediction, row: PoolSums) -> UserVector:
        entries: dict[int, int] = {}
        for s in prediction.services:
            pair = (s.service, prediction.tier)
            units = round(min(1.0, s.within) * UNIT)
            if units and (pair in row.series or len(row.series) < self.config.most_series):
                entries[row.series.setdefault(pair, len(row.series))] = units
        series = np.fromiter(entries.keys(), np.int64, len(entries))
        within = np.fromiter(entries.values(), np.int64, len(entries))
        return UserVector(
            prediction.pool, row.epoch, series, within, tuple(self._steps(prediction))
        )

    def _steps(self, prediction: Prediction) -> Iterator[tuple[int, int]]:
        """The steps of a vector's lifetime: end and factor of each."""
        life_ms = max(0, prediction.expires_ms - prediction.made_ms)
        first_ms = max(self.config.tick_ms, prediction.horizon_ms // 2)
        last, before, age_ms = prediction.made_ms, 0.0, float(min(first_ms, life_ms))
        growth = max(self.config.growth, (life_ms / first_ms) ** (1 / self.config.most_steps))
        factor = _factor(prediction)
        while before < life_ms:
            until_ms = self._bucket(prediction.made_ms + int(age_ms), int(age_ms - before))
            if until_ms > last:
                yield until_ms, round(factor((before * age_ms) ** 0.5) * UNIT) if before else UNIT
                last = until_ms
            before, age_ms = age_ms, min(age_ms * growth, life_ms)

    def _bucket(self, until_ms: int, length_ms: int) -> int:
        """A time rounded down to a grid whose width follows the length of the step."""
        width = self.config.tick_ms
        while length_ms > 2 * self.config.grain * width:
            width *= 2
        return until_ms // width * width

    def _pool(self, pool: str, state: State) -> PoolSums | None:
        row = state.get(_pool_key(pool))
        if isinstance(row, PoolSums):
            return row
        roster = _roster(state)
        if pool not in roster.pools:
            if len(roster.pools) >= self.config.most_pools:
                return None
            roster = replace(roster, pools=(*roster.pools, pool))
        state[ROSTER] = roster = replace(roster, epochs=roster.epochs + 1)
        row = PoolSums(epoch=roster.epochs, expired_ms=roster.now_ms)
        state[_pool_key(pool)] = row
        return row

    def _demands(self, now_ms: int, state: State, context: StepContext) -> Iterator[Demand]:
        roster = _roster(state)
        keep: list[str] = []
        for pool in roster.pools:
            row = state.get(_pool_key(pool))
            if not isinstance(row, PoolSums):
                continue
            _expire(pool, row, now_ms, state)
            yield self._demand(pool, row, now_ms, context.partition)
            if row.ends or row.warm_ups:
                keep.append(pool)
            else:
                del state[_pool_key(pool)]
        state[ROSTER] = replace(roster, now_ms=now_ms, pools=tuple(keep))

    def _demand(self, pool: str, row: PoolSums, now_ms: int, partition: int) -> Demand:
        return Demand(
            pool=pool,
            partition=partition,
            at_ms=now_ms,
            horizon_ms=row.horizon_ms,
            services=row.demand(),
            warm_ups=tuple(
                MeasuredWarmUp(service=name, count=count, total_ms=total, squares_ms2=squares)
                for name, (count, total, squares) in sorted(row.warm_ups.items())
            ),
            expires_ms=max(_half_life(row), now_ms + 3 * self.config.tick_ms),
        )


def _factor(prediction: Prediction) -> Callable[[float], float]:
    """Factor of `within` by the age of the silence; the shares of composites stay."""
    chance = asks_after(prediction.expected_ms, prediction.horizon_ms)
    now, most = soon(prediction), max((s.within for s in prediction.services), default=0.0)
    return lambda age_ms: min(1.0 / most, chance(age_ms) / now) if now > 0 else 0.0


def _roster(state: State) -> PoolRoster:
    row = state.get(ROSTER)
    return row if isinstance(row, PoolRoster) else PoolRoster()


def _pool_key(pool: str) -> str:
    return f"\x00pool/{pool}"


def _bucket_key(pool: str, until_ms: int) -> str:
    return f"\x00until/{until_ms}/{pool}"


def _book(vector: UserVector, sign: int, state: State) -> None:
    """Add (+1) or subtract (-1) the rest of a vector's lifetime in the sums and buckets."""
    row = state.get(_pool_key(vector.pool))
    if not isinstance(row, PoolSums) or row.epoch != vector.epoch:
        return
    ends, expected = vector.alive(row.expired_ms)
    if not ends:
        return
    both = sign * np.stack([expected, expected * (UNIT - expected)], axis=1)
    row.sums.add(vector.series, both[0])
    both[:-1] -= both[1:]  # the change at the end of each step
    masses = both[:, 0].sum(axis=1).tolist()
    for until_ms, change, mass in zip(ends, both, masses, strict=True):
        key = _bucket_key(vector.pool, until_ms)
        bucket = state.get(key)
        bucket = bucket if isinstance(bucket, SeriesSums) else SeriesSums()
        bucket.add(vector.series, change)
        state[key] = bucket
        row.ends[until_ms] = row.ends.get(until_ms, 0) + mass
    state[_pool_key(vector.pool)] = row


def _expire(pool: str, row: PoolSums, now_ms: int, state: State) -> None:
    """Subtract the buckets that have ended by now."""
    for until_ms in [end for end in row.ends if end <= now_ms]:
        bucket = state.pop(_bucket_key(pool, until_ms), None)
        if isinstance(bucket, SeriesSums):
            row.sums.take(bucket)
        del row.ends[until_ms]
    row.expired_ms = now_ms
    state[_pool_key(pool)] = row


def _half_life(row: PoolSums) -> int:
    """Time at which half of the expected requests expire without new vectors, in ms."""
    half, gone = sum(row.ends.values()) / 2, 0
    for until_ms, units in sorted(row.ends.items()):
        gone += units
        if gone >= half:
            return until_ms
    return 0
