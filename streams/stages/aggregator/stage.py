"""Stage "aggregator": the rate at which users ask, summed per pool: the allocator knows no user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass

import numpy as np

from streams.models.arrival.silence import EDGES_MS, context_of
from streams.records import Demand, Feedback, Prediction, Record
from streams.records.catalog import Catalog
from streams.stages.admission import admit_feedback, admit_prediction
from streams.stages.aggregator.heard import is_new
from streams.stages.aggregator.phase_vectors import by_phase
from streams.stages.aggregator.state import (
    UNIT,
    PoolRoster,
    PoolSums,
    Row,
    SilentUser,
    UserTally,
    Whole,
)
from streams.stages.aggregator.state_bytes import decode, encode
from streams.stages.aggregator.wheel import SilenceWheel
from streams.stages.base import AHEAD_MS, MAX_NAME, NoRoom, NotInCatalogue, StepContext

__all__ = ["Aggregator", "AggregatorConfig"]

ROSTER = "\x00pools"
STRANGER = UserTally()  # of a user in a context of which nothing is known yet

State = MutableMapping[str, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorConfig:
    """Parameters of the stage."""

    tick_ms: int = 1_000  # how often demand is sent at most
    horizon_ms: int = 60_000  # what the expected requests of a demand refer to
    margin_ms: int = EDGES_MS[1]  # looked ahead beyond the slowest start, see `SilenceWheel`
    news: float = 1 / 3  # share of a pool's demand whose change is published
    expiry_ms: int = 600_000  # demand counts at least for this long unless it is replaced
    leap_ms: int = 86_400_000  # a larger jump of event time needs a second record
    most_pools: int = 1_000  # pools of a partition; vectors of further pools are dead letters
    most_strangers: int = 16  # the same while the catalogue has no pools: anyone invents some


class Aggregator:
    """Sums over users, per pool, composite and tier, the rate at which they ask.

    A user's next request comes at a rate that depends on how long they have been silent, in which
    context, and on how they differ from others in it (see `SilenceHazard`, `UserTally`); what it
    is for is the user's vector. The sum of these rates over users is the conditional intensity of
    each composite: nothing else needs to be known of the users to decide what to keep warm.

    State: `u/<user>` each silent user; per pool one row of running sums; and the buckets of the
    pool's `SilenceWheel`. So time passes bucket by bucket, without a look at users. And `h/<user>`
    which of their requests were heard of: one that comes again is not.
    """

    name = "aggregator"

    def __init__(self, config: AggregatorConfig | None = None) -> None:
        self.config = config or AggregatorConfig()

    def step(self, event: Record, state: State, context: StepContext) -> Iterable[Record]:
        """Process a prediction or feedback; only predictions advance event time."""
        if isinstance(event, Feedback):
            admit_feedback(event)
            self._learn(event, state, context)
            return ()
        assert isinstance(event, Prediction)
        admit_prediction(event)
        if not context.catalog.serves(event.pool):
            raise NotInCatalogue(f"pool {event.pool[:MAX_NAME]!r} is not in the catalogue")
        roster = _roster(state)
        self._require_room(event.pool, roster, context.catalog)
        roster = roster.passed_to(event.made_ms, context.record_ms, self.config.leap_ms)
        now_ms = roster.now_ms
        # What comes at the very time at which demand was sent is not in it.
        heard_ms = max(now_ms, roster.sent_ms + 1)
        state[ROSTER] = roster._replace(heard_ms=heard_ms)
        self._count(event, state, context)
        self._begin_silence(event, now_ms, state, context)
        if now_ms // self.config.tick_ms <= roster.sent_ms // self.config.tick_ms:
            return ()
        made = tuple(self._demands(now_ms, state, context))
        # Once more at the next tick: then it is known what the request itself has started.
        state[ROSTER] = _roster(state)._replace(heard_ms=now_ms + 1)
        return made

    def tick(self, now_ms: int, state: State, context: StepContext) -> Iterable[Record]:
        """Publish the demand at `now_ms` if enough of it has changed; time never goes back."""
        roster = _roster(state)
        if roster.now_ms > now_ms + AHEAD_MS:
            roster = self._set_back(roster, state, context)
        due_ms = self._due(roster, state)
        if due_ms is None or now_ms < due_ms:
            return ()
        now_ms = max(now_ms, roster.now_ms)
        told = roster.heard_ms <= roster.sent_ms and now_ms < self._repeat_ms(roster)
        if told and not any(self._is_news(p, now_ms, state, context) for p in roster.pools):
            state[ROSTER] = roster._replace(now_ms=now_ms)
            return ()
        return tuple(self._demands(now_ms, state, context))

    def _set_back(self, roster: PoolRoster, state: State, context: StepContext) -> PoolRoster:
        """Begin anew with what is learnt: the clock was ahead, and nothing ends before its time."""
        for pool in roster.pools:
            row = _known(pool, state)
            self._wheel(pool, row, state, context).clear()
            state[_pool_key(pool)] = row.anew(roster.epochs + 1)
        state[ROSTER] = after = PoolRoster(pools=roster.pools, epochs=roster.epochs + 1)
        return after

    def _is_news(self, pool: str, now_ms: int, state: State, context: StepContext) -> bool:
        """Bring a pool up to a time; whether enough of its demand has changed to be published."""
        row = _known(pool, state)
        self._wheel(pool, row, state, context).pass_to(now_ms)
        state[_pool_key(pool)] = row
        return row.news > self.config.news * row.rate

    def due(self, state: State) -> int | None:
        """When a tick would find demand to send.

        At the next tick after a prediction; without any, when users enter a next stage of their
        silence, and before the demand sent last expires.
        """
        return self._due(_roster(state), state)

    def _due(self, roster: PoolRoster, state: State) -> int | None:
        if roster.now_ms < 0:
            return None
        if roster.sent_ms < 0:
            return roster.now_ms
        after_ms = (roster.sent_ms // self.config.tick_ms + 1) * self.config.tick_ms
        if roster.heard_ms > roster.sent_ms:
            return after_ms
        ends = [row.ends[0][0] for pool in roster.pools if (row := _known(pool, state)).ends]
        return max(after_ms, min([*ends, self._repeat_ms(roster)])) if ends else None

    def _life_ms(self, roster: PoolRoster) -> int:
        """How long the demand sent last counts: longer when all had been silent for long."""
        return max(self.config.expiry_ms, 2 * (roster.sent_ms - roster.heard_ms))

    def _repeat_ms(self, roster: PoolRoster) -> int:
        """When demand is sent again although nothing has changed."""
        return roster.sent_ms + self._life_ms(roster) // 2

    def encode(self, value: Row) -> bytes:
        """The bytes of a row; see `state_bytes`."""
        return encode(value)

    def decode(self, data: bytes) -> Row:
        """The row of these bytes."""
        return decode(data)

    def _learn(self, feedback: Feedback, state: State, context: StepContext) -> None:
        """Take measured start-up times in."""
        catalog = context.catalog
        if not feedback.warm_ups or not catalog.serves(feedback.pool):
            return
        self._require_room(feedback.pool, _roster(state), catalog)
        if not is_new(feedback, state, context.record_ms):
            return
        row = self._pool(feedback.pool, state)
        for measured in feedback.warm_ups:
            if not catalog.constituents or measured.service in catalog.constituents:
                row.measure(measured)
        state[_pool_key(feedback.pool)] = row

    def _count(self, prediction: Prediction, state: State, context: StepContext) -> None:
        """Count the request of a prediction."""
        catalog = context.catalog
        known = bool(prediction.asked) and catalog.knows(prediction.asked)
        if known and is_new(prediction, state, context.record_ms):
            row = self._pool(prediction.pool, state)
            row.count(prediction.asked, catalog.tier_of(prediction.tier))
            state[_pool_key(prediction.pool)] = row

    def _begin_silence(
        self, prediction: Prediction, now_ms: int, state: State, context: StepContext
    ) -> None:
        """End the silence of a user who has asked, and begin the next."""
        key = f"u/{prediction.user}"
        old = state.get(key)
        gap_ms: int | None = None
        tallies: dict[int, UserTally] = {}
        if isinstance(old, SilentUser):
            gap_ms = max(0, prediction.made_ms - old.last_ms)
            tallies = dict(old.tallies)
            row = _known(old.pool, state)
            if row.epoch == old.epoch:
                wheel = self._wheel(old.pool, row, state, context)
                wheel.pass_to(now_ms)
                tallies[old.context] = wheel.remove(old, now_ms)
                state[_pool_key(old.pool)] = row
        new_row = self._pool(prediction.pool, state)
        silence = context_of(prediction.soon, gap_ms)
        tallies.setdefault(silence, STRANGER)
        vectors = self._vectors(prediction, new_row, tallies[silence].frailty, context.catalog)
        wheel = self._wheel(prediction.pool, new_row, state, context)
        wheel.pass_to(now_ms)
        state[key] = user = SilentUser(
            prediction.pool, new_row.epoch, prediction.made_ms, now_ms, silence, *vectors, tallies,
        )  # fmt: skip
        wheel.add(user)
        state[_pool_key(prediction.pool)] = new_row

    def _vectors(
        self, prediction: Prediction, row: PoolSums, frailty: float, catalog: Catalog
    ) -> tuple[Whole, Whole]:
        """The series of the vector's entries, and by phase their units; see `SilentUser`."""
        tier, given = catalog.tier_of(prediction.tier), by_phase(prediction)
        units = np.rint(np.minimum(given, 1.0) * (frailty * UNIT)).astype(np.int64)
        places: dict[int, int] = {}
        for place in np.flatnonzero(units.any(axis=0)).tolist():
            service = prediction.services[place].service
            number = row.number(service, tier) if catalog.knows(service) else None
            if number is not None:
                places[number] = place
        return np.array([*places], np.int64), units[:, [*places.values()]]

    def _wheel(self, pool: str, row: PoolSums, state: State, context: StepContext) -> SilenceWheel:
        ahead_ms = row.slowest_ms(context.catalog) + self.config.margin_ms
        return SilenceWheel(pool, row, state, tick_ms=self.config.tick_ms, ahead_ms=ahead_ms)

    def _require_room(self, pool: str, roster: PoolRoster, catalog: Catalog) -> None:
        """Refuse a pool beyond the most that are summed."""
        most = self.config.most_pools if catalog.pools else self.config.most_strangers
        if len(roster.pools) >= most and pool not in roster.pools:
            raise NoRoom(
                f"pool {pool!r} is one too many: a partition sums the demand of at most {most}"
                f"{'' if catalog.pools else ' that no catalogue has'}, until one of them has been"
                " silent for long"
            )

    def _pool(self, pool: str, state: State) -> PoolSums:
        row = state.get(_pool_key(pool))
        if isinstance(row, PoolSums):
            return row
        roster = _roster(state)
        if pool not in roster.pools:
            roster = roster._replace(pools=(*roster.pools, pool))
        state[ROSTER] = roster = roster._replace(epochs=roster.epochs + 1)
        row = PoolSums(epoch=roster.epochs)
        state[_pool_key(pool)] = row
        return row

    def _demands(self, now_ms: int, state: State, context: StepContext) -> Iterator[Demand]:
        roster = _roster(state)._replace(now_ms=now_ms, sent_ms=now_ms)
        keep: list[str] = []
        for pool in roster.pools:
            row = _known(pool, state)
            self._wheel(pool, row, state, context).pass_to(now_ms)
            row.news = 0
            row.forget_unknown(context.catalog)
            state[_pool_key(pool)] = row
            yield self._demand(pool, row, roster, context.partition)
            if row.ends or row.warm_ups:
                keep.append(pool)
            else:
                del state[_pool_key(pool)]
        state[ROSTER] = roster._replace(pools=tuple(keep))

    def _demand(self, pool: str, row: PoolSums, roster: PoolRoster, partition: int) -> Demand:
        now_ms = roster.now_ms
        return Demand(
            pool=pool,
            partition=partition,
            at_ms=now_ms,
            horizon_ms=self.config.horizon_ms,
            services=row.demand(self.config.horizon_ms),
            warm_ups=row.measured(),
            expires_ms=now_ms + self._life_ms(roster),
        )


def _roster(state: State) -> PoolRoster:
    row = state.get(ROSTER)
    return row if isinstance(row, PoolRoster) else PoolRoster()


def _known(pool: str, state: State) -> PoolSums:
    row = state.get(_pool_key(pool))
    return row if isinstance(row, PoolSums) else PoolSums()


def _pool_key(pool: str) -> str:
    return f"\x00pool/{pool}"
