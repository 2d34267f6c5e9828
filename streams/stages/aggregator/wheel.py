"""The timing wheel of silences: users move from stage to stage together, bucket by bucket.

A bucket holds the users of one context who leave one stage at the same time, on a grid whose width
follows the length of the stage. The time at which a bucket leaves the next stage follows from that
alone, so the users of a bucket stay together for good, and buckets merge on the coarser grids of
later stages (Varghese and Lauck, SOSP 1987: hierarchical timing wheels). A request costs one
bucket, and time costs the buckets that end, however many users there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, MutableMapping
from itertools import pairwise

from streams.models.arrival.phases import PHASES, phase_of
from streams.models.arrival.silence import EDGES_MS, STAGES
from streams.stages.aggregator.state import (
    RATE_UNIT,
    UNIT,
    PoolSums,
    Row,
    SeriesSums,
    SilenceBucket,
    SilentUser,
    UserTally,
)

__all__ = ["SilenceWheel", "passages"]

PHASE_OF = tuple(map(phase_of, EDGES_MS))  # of each stage
LATE = 10  # first stage of a silence between sessions: from 6 minutes on
GRAIN = 8  # a stage may end early by 1 / GRAIN of its length, so that users share buckets

# A request takes up 1 / LEAST of the stage at least: else nothing is known of the time spent in a
# stage in which all requests come the instant that it begins.
LEAST = 4

LENGTHS_MS = [end - begin for begin, end in pairwise(EDGES_MS)]


def _end_ms(entered_ms: int, stage: int, tick_ms: int) -> int:
    """When those who enter a stage at this time leave it."""
    width, length_ms = tick_ms, LENGTHS_MS[stage]
    while 2 * width * GRAIN <= length_ms:
        width *= 2
    return max(entered_ms + 1, (entered_ms + length_ms) // width * width)


def passages(entered_ms: int, now_ms: int, tick_ms: int) -> Iterator[tuple[int, int, int]]:
    """The stages of a silence up to now: stage, when it began, and when it ends.

    The last one ends after `now_ms`, unless the silence has ended with the last stage.
    """
    for stage in range(STAGES - 1):
        end_ms = _end_ms(entered_ms, stage, tick_ms)
        yield stage, entered_ms, end_ms
        if end_ms > now_ms:
            return
        entered_ms = end_ms


class SilenceWheel:
    """The buckets of one pool, during one step.

    Parameters
    ----------
    pool, row
        The pool's name and row, which is changed in place: the caller assigns it.
    state
        Has the buckets.
    ahead_ms
        A user counts with the highest hazard between now and this time ahead: an instance started
        now is ready then, and one that is needed again by then is not ended before.
    """

    def __init__(
        self,
        pool: str,
        row: PoolSums,
        state: MutableMapping[str, Row],
        *,
        tick_ms: int,
        ahead_ms: int,
    ) -> None:
        self._pool, self._row, self._state = pool, row, state
        self._tick_ms, self._ahead_ms = tick_ms, ahead_ms

    def pass_to(self, now_ms: int) -> None:
        """Move on all buckets that end by now."""
        row = self._row
        while row.ends and row.ends[0][0] <= now_ms:
            end_ms, context, stage = heapq.heappop(row.ends)
            bucket = self._state.pop(self._key(end_ms, context, stage), None)
            if isinstance(bucket, SilenceBucket):
                self._move(bucket, context, stage, end_ms)
        row.passed_ms = max(row.passed_ms, now_ms)

    def clear(self) -> None:
        """Drop all buckets."""
        for end in self._row.ends:
            self._state.pop(self._key(*end), None)

    def add(self, user: SilentUser) -> None:
        """Count a user who has just asked."""
        now_ms, context = user.entered_ms, user.context
        self._row.hazard.enter(context, 0, 1, now_ms)
        key, bucket = self._bucket(context, 0, now_ms)
        bucket.users += 1
        bucket.entered_ms += now_ms
        bucket.mass += _mass(user)
        for sums, vector in zip(bucket.vectors, user.vectors, strict=True):
            sums.add(user.series, vector)
        self._sums(0).add(user.series, bucket.rate * user.vectors[0])
        self._expect(0, now_ms, bucket.rate * _mass(user))
        self._state[key] = bucket

    def remove(self, user: SilentUser, now_ms: int) -> UserTally:
        """Take away a user who asks now; returns their new tally in the context."""
        context, hazard = user.context, self._row.hazard
        tally = user.tallies[context]
        expected = tally.expected
        for stage, begin_ms, end_ms in passages(user.entered_ms, now_ms, self._tick_ms):
            until_ms = min(end_ms, max(now_ms, begin_ms + (end_ms - begin_ms) // LEAST))
            expected += hazard.rate(context, stage, now_ms) * (until_ms - begin_ms)
            if end_ms > now_ms:
                hazard.leave(context, stage, 1, begin_ms, until_ms, asked=1)
                self._take(user, stage, begin_ms, end_ms, now_ms)
        return UserTally(tally.asked + 1, expected)

    def _take(self, user: SilentUser, stage: int, begin_ms: int, end_ms: int, now_ms: int) -> None:
        """Take a user out of their bucket."""
        key = self._key(end_ms, user.context, stage)
        bucket = self._state.get(key)
        if not isinstance(bucket, SilenceBucket):
            return
        mass = _mass(user)
        bucket.users -= 1
        bucket.entered_ms -= begin_ms
        bucket.mass -= mass
        for phase in range(PHASE_OF[stage], PHASES):
            bucket.vectors[phase].add(user.series, -user.vectors[phase])
        self._sums(stage).add(user.series, -bucket.rate * user.vectors[PHASE_OF[stage]])
        self._expect(stage, now_ms, -bucket.rate * mass, asked=1)
        if bucket.users:
            self._state[key] = bucket
        else:
            del self._state[key]

    def _move(self, bucket: SilenceBucket, context: int, stage: int, now_ms: int) -> None:
        """Move the users of a bucket to the next stage; after the last one they are forgotten."""
        self._sums(stage).add_all(bucket.vectors[PHASE_OF[stage]], -bucket.rate)
        self._expect(stage, now_ms, -bucket.rate * bucket.mass)
        hazard = self._row.hazard
        hazard.leave(context, stage, bucket.users, bucket.entered_ms, now_ms)
        if stage + 1 == len(LENGTHS_MS):
            self._row.news += bucket.rate * bucket.mass
            return
        hazard.enter(context, stage + 1, bucket.users, now_ms)
        key, into = self._bucket(context, stage + 1, now_ms)
        begun = PHASE_OF[stage + 1]
        if into.users:
            for phase in range(begun, PHASES):
                into.vectors[phase].add_all(bucket.vectors[phase], 1)
        else:  # most often: all of it moves on, and nobody else has the bucket
            into.vectors[begun:] = bucket.vectors[begun:]
        into.users += bucket.users
        into.entered_ms += bucket.users * now_ms
        into.mass += bucket.mass
        self._sums(stage + 1).add_all(bucket.vectors[begun], into.rate)
        self._expect(stage + 1, now_ms, into.rate * bucket.mass)
        self._row.news += abs(into.rate - bucket.rate) * bucket.mass
        self._state[key] = into

    def _bucket(self, context: int, stage: int, now_ms: int) -> tuple[str, SilenceBucket]:
        """The bucket of those who enter a stage now, and its key."""
        end_ms = _end_ms(now_ms, stage, self._tick_ms)
        key = self._key(end_ms, context, stage)
        found = self._state.get(key)
        if isinstance(found, SilenceBucket):
            return key, found
        heapq.heappush(self._row.ends, (end_ms, context, stage))
        until_ms = EDGES_MS[stage] + self._ahead_ms
        rate = self._row.hazard.rate(context, stage, now_ms, until_ms)
        return key, SilenceBucket(round(rate * RATE_UNIT))

    def _sums(self, stage: int) -> SeriesSums:
        return self._row.late if stage >= LATE else self._row.early

    def _expect(self, stage: int, now_ms: int, change: int, *, asked: int = 0) -> None:
        """Change the rate at which requests are expected."""
        row = self._row
        row.rate += change
        if stage >= LATE:
            row.tempo = row.tempo.after(now_ms, row.late_rate / (RATE_UNIT * UNIT), asked)
            row.late_rate += change

    def _key(self, end_ms: int, context: int, stage: int) -> str:
        if context < 0:  # of an earlier release
            return f"\x00until/{end_ms}/{self._pool}"
        return f"\x00until/{end_ms}/{context}/{stage}/{self._pool}"


def _mass(user: SilentUser) -> int:
    """The user's frailty in units."""
    return round(user.tallies[user.context].frailty * UNIT)
