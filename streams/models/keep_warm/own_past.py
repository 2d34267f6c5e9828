"""How many instances of a constituent its own past advises to keep, in irregular time."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from streams.models.keep_warm import passage
from streams.models.keep_warm.former_pasts import records_of
from streams.models.keep_warm.hedge import EXPERTS, PAST, PRIOR, Weights
from streams.models.keep_warm.history import NEVER_MS
from streams.models.keep_warm.recurrence import UNKNOWN
from streams.models.kernels import Records
from streams.models.state_bytes import copied, packed, unpacked

__all__ = ["FAR_MS", "AdviceAhead", "AdviceSpan", "KeepWarmCosts", "OwnPast"]

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
FAR_MS = 7 * _DAY_MS  # how far changes are looked up one by one
_LEAST = 1e-12  # cost of a cold start, where none is known


class KeepWarmCosts(NamedTuple):
    """What an instance costs, in any unit."""

    warm_hour: float  # of an instance that is warm and not in use
    wait: float  # of a request that finds none
    start: float  # of a start, whether a request waits for it or not

    @property
    def in_cold_starts(self) -> tuple[float, float]:
        """The cost of a warm ms and of a start, in waits with their start."""
        cold = max(self.wait + self.start, _LEAST)
        return self.warm_hour / _HOUR_MS / cold, self.start / cold


class OwnPast:
    """What a constituent's own past says of how many instances to keep; immutable.

    Idea: many experts each name a number of instances: timers, repeats of a period, the hybrid
    histogram, a forecast (`recurrence`), and the caller. Each is charged what its number would
    have cost (warm time to the ms, waits, starts), and weighs e times less for each cold start
    that it was dearer. What more than half of the weight keeps is advised. At first the caller has
    half of the weight. Old charges count less after each minute with a use, so that the weights
    follow a change.

    Guarantees: the answer depends on uses, names and time alone, not on how often it was asked for
    or time was told. While no cell costs more than a cold start, the experts together pay at most
    1.6 times what the best of them does and 1.6 cold starts for each e-fold of its first weight,
    and the advice at most twice that; the tests hold what really happens to far less. The state
    has as many bytes at all times. A minute takes about 1 us; after 15 days of silence a day does.

    Parameters
    ----------
    records
        One record of the state.

    Examples
    --------
    >>> costs, minute = KeepWarmCosts(warm_hour=1.0, wait=0.2, start=0.01), 60_000
    >>> past = OwnPast()
    >>> for hour in range(12):  # a request at each full hour
    ...     past = past.using(hour * 60 * minute, hour * 60 * minute + 1_000, costs)
    >>> [past.at(minutes * minute, costs).advice for minutes in (665, 719, 720, 721)]
    [0, 0, 1, 0]

    References
    ----------
    Littlestone & Warmuth (1994), The weighted majority algorithm, Information and Computation 108;
    Freund & Schapire (1997), A decision-theoretic generalization of on-line learning, Journal of
    Computer and System Sciences 55, theorem 2.
    """

    __slots__ = ("_records", "_weights")

    def __init__(self, records: Records | None = None) -> None:
        self._records = _new() if records is None else records
        self._weights: Weights | None = None  # once asked for

    @classmethod
    def of(cls, data: bytes) -> OwnPast:
        """From the bytes of its state; raises ValueError if they are damaged."""
        former = records_of(data)
        if former is not None:
            return cls(former)
        if len(data) != PAST.itemsize:
            raise ValueError(f"a past has {len(data)} bytes where {PAST.itemsize} belong")
        return cls(unpacked(data, PAST))

    def __bytes__(self) -> bytes:
        return packed(self._records)

    def at(self, at_ms: int, costs: KeepWarmCosts) -> OwnPast:
        """The past at a later time, without further uses."""
        return OwnPast(self._moved(at_ms, costs))

    def using(
        self,
        at_ms: int,
        until_ms: int,
        costs: KeepWarmCosts,
        *,
        count: int = 1,
        at_once: int = 1,
        start_ms: int = 1,
        prior: Weights | None = None,
    ) -> OwnPast:
        """The past when so many requests have come, each for an instance until that time.

        Parameters
        ----------
        at_once
            Requests that an instance serves at the same time.
        start_ms
            How long a start takes: whoever comes meanwhile waits for the rest of it.
        prior
            Log weights of the experts, losses left out, from now on.
        """
        after = self._moved(at_ms, costs, prior)
        _, start = costs.in_cold_starts
        passage.use(after, until_ms, count, at_once, max(1, start_ms), start)
        return OwnPast(after)

    def naming(
        self,
        number: int,
        at_ms: int,
        costs: KeepWarmCosts,
        *,
        ready: int | None = None,
        prior: Weights | None = None,
    ) -> OwnPast:
        """The past when the caller has named the number that it would keep from now on.

        Parameters
        ----------
        ready
            What it has now, and is charged for, if not that number: what it starts is ready later.
        prior
            Log weights of the experts, losses left out, from now on.
        """
        after = self._moved(at_ms, costs, prior)
        passage.speak(after, number, number if ready is None else ready)
        return OwnPast(after)

    @property
    def weights(self) -> Weights:
        """The weight of each expert, by its prior and what it was charged."""
        if self._weights is None:
            self._weights = np.empty(EXPERTS)
            passage.tell_weights(self._records, self._weights)
        return self._weights

    @property
    def advice(self) -> int:
        """The number of instances that experts with more than half of the weight keep now."""
        return passage.advised(self._records)

    def ahead(self, costs: KeepWarmCosts) -> AdviceAhead:
        """The advice at later times."""
        return AdviceAhead(copied(self._records), costs)

    def _moved(self, at_ms: int, costs: KeepWarmCosts, prior: Weights | None = None) -> Records:
        after = copied(self._records)
        if prior is not None:
            after["prior"][0] = prior
        passage.advance(after, at_ms, *costs.in_cold_starts)
        return after


class AdviceSpan(NamedTuple):
    """The number of instances advised at a time, and a later time until which it stays so."""

    number: int
    until_ms: int
    open: bool  # whether it may stay so for longer: nothing was looked up beyond


class AdviceAhead:
    """The advice of a past at later times if nothing more comes, looked up as far as is asked.

    A lookup costs a microsecond for each minute, and most are for naught since something comes. So
    each goes a little farther than is asked, and not to the next change.

    Parameters
    ----------
    records
        One record of the state, which becomes the object's own.
    """

    __slots__ = ("_ahead", "_costs", "_limit_ms", "_numbers", "_seen_ms", "_since_ms")

    def __init__(self, records: Records, costs: KeepWarmCosts) -> None:
        self._ahead, self._costs = records, costs
        self._seen_ms = self._limit_ms = int(records["now_ms"][0])
        self._since_ms, self._numbers = [self._seen_ms], [passage.advised(records)]

    def at(self, at_ms: int) -> AdviceSpan:
        """The advice at a time.

        Of a time that is more than `FAR_MS` after the last one, nothing before it may be asked.
        """
        while self._seen_ms <= at_ms:
            self._look(at_ms)
        later = bisect_right(self._since_ms, at_ms)
        still = later == len(self._since_ms)
        until_ms = self._seen_ms if still else self._since_ms[later]
        return AdviceSpan(self._numbers[max(0, later - 1)], until_ms, still)

    def _look(self, at_ms: int) -> None:
        """Look a little farther; the advice is told anew when it changes, and at a limit."""
        ahead, since_ms, costs = self._ahead, self._since_ms[-1], self._costs.in_cold_starts
        if self._seen_ms == self._limit_ms and at_ms - since_ms > FAR_MS:
            passage.advance(ahead, at_ms, *costs)
            self._tell(at_ms)
            return
        looked_ms = since_ms - self._since_ms[0]
        if self._seen_ms == self._limit_ms:
            # On full hours or days: one decision looks farther for all pasts that have come so far.
            grid_ms = _DAY_MS if looked_ms else _HOUR_MS
            far_ms = max(grid_ms, looked_ms // 16)
            self._limit_ms = max(at_ms + 1, -(-(since_ms + far_ms // 2) // grid_ms) * grid_ms)
        most_ms = max(_HOUR_MS // 2, looked_ms // 16)  # a silence may last for years
        more_ms = min(max(_HOUR_MS // 6, self._seen_ms - since_ms), most_ms)
        until_ms = min(self._limit_ms, max(at_ms, self._seen_ms) + more_ms)
        self._seen_ms = passage.change_ms(ahead, *costs, until_ms)
        if self._seen_ms == self._limit_ms or passage.advised(ahead) != self._numbers[-1]:
            self._tell(self._seen_ms)

    def _tell(self, at_ms: int) -> None:
        self._seen_ms = self._limit_ms = at_ms
        self._since_ms.append(at_ms)
        self._numbers.append(passage.advised(self._ahead))


def _new() -> Records:
    records = np.zeros(1, PAST)
    records["cell"] = -1
    records["prior"] = PRIOR
    records["history"]["ends_ms"] = NEVER_MS
    records["recurrence"]["stages"] = UNKNOWN
    return records
