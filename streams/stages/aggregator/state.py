"""State of the aggregator: each silent user, and integer sums over them.

Probabilities are kept in units of 2^-16, rates in units of 2^-36 per ms and sums in whole numbers,
so adding a user and taking them away again leaves exactly nothing: no drift, whatever the order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.arrival.phases import PHASES
from streams.models.arrival.silence import SilenceHazard
from streams.records import MeasuredWarmUp, ServiceDemand
from streams.records.catalog import Catalog
from streams.records.instances import ENOUGH
from streams.stages.admission import MOST_MS
from streams.stages.aggregator.heard import HeardUser
from streams.stages.aggregator.tempo import DemandTempo

__all__ = [
    "RATE_UNIT",
    "UNIT",
    "FormerRow",
    "PoolRoster",
    "PoolSums",
    "Row",
    "SeriesSums",
    "SilenceBucket",
    "SilentUser",
    "UserTally",
    "Whole",
]

UNIT = 1 << 16  # one, in units of probability
RATE_UNIT = 1 << 36  # one request per ms, in units of rate
MOST_BYTES = 900 * 1024  # of all series and constituents of a pool: its row stays below 1 MiB
NUMBERS_BYTES = 44  # of a series or constituent, beside its name
FRAILTY = 4.0  # pseudo-requests that shrink a user's frailty towards 1
MOST = 16.0  # frailty of a user

Whole = NDArray[np.int64]
NOTHING: Whole = np.zeros(0, np.int64)

# The constructor of a named tuple is Python code, and a demand has an entry per series.
_entry: Callable[[tuple[str, str, float, int]], ServiceDemand] = partial(
    tuple.__new__, ServiceDemand
)


@dataclass(frozen=True, slots=True)
class UserTally:
    """A user's requests in a context, against those expected of all users in it."""

    asked: int = 0
    expected: float = 0.0

    @property
    def frailty(self) -> float:
        """Factor of this user on the hazard of all users in the context.

        The posterior mean of a gamma frailty (Vaupel, Manton, Stallard, Demography 16(3), 1979).
        """
        return min(MOST, (self.asked + FRAILTY) / (self.expected + FRAILTY))


@dataclass(frozen=True, slots=True)
class SilentUser:
    """A user since their last request, and what is known of earlier silences."""

    pool: str
    epoch: int  # of the pool's series
    last_ms: int  # time of the last request
    entered_ms: int  # when it was counted: never before what the pool has passed
    context: int
    series: Whole  # series of the pool, one per entry
    # By phase and entry, times the user's frailty and in units: that a request in the phase is for
    # the composite; within the session also that one a few requests later is.
    vectors: Whole
    tallies: dict[int, UserTally]  # by context


@dataclass(slots=True)
class SeriesSums:
    """Whole sums per series."""

    values: Whole = field(default_factory=lambda: NOTHING)

    def add(self, series: Whole, change: Whole) -> None:
        """Add to some series, each named once."""
        try:
            self.values[series] += change
        except IndexError:
            self._grow(2 * int(series.max()) + 1)
            self.values[series] += change

    def add_all(self, other: SeriesSums, times: int) -> None:
        """Add a multiple of other sums."""
        size = len(other.values)
        if size > len(self.values):
            self._grow(size)
        self.values[:size] += times * other.values

    def _grow(self, size: int) -> None:
        grown = np.zeros(size, np.int64)  # np.pad takes ten times as long
        grown[: len(self.values)] = self.values
        self.values = grown


def _none() -> list[SeriesSums]:
    return [SeriesSums() for _ in range(PHASES)]


@dataclass(slots=True)
class SilenceBucket:
    """Users of one context who are in one stage of their silence and leave it together."""

    rate: int  # hazard of each, in units; fixed when the bucket is made
    users: int = 0
    entered_ms: int = 0  # sum of the times at which they entered the stage
    mass: int = 0  # sum of their frailties, in units of probability
    vectors: list[SeriesSums] = field(default_factory=_none)  # by phase; none once one is over


@dataclass(slots=True)
class PoolSums:
    """Sums over the silent users of a pool, and what all of them teach about silences."""

    epoch: int = 0
    passed_ms: int = -1  # buckets up to this time have moved on
    series: dict[tuple[str, str], int] = field(default_factory=dict)  # composite, tier
    early: SeriesSums = field(default_factory=SeriesSums)  # within sessions, in units^2 per ms
    late: SeriesSums = field(default_factory=SeriesSums)  # between sessions, likewise
    rate: int = 0  # at which all users ask, in units^2 per ms
    late_rate: int = 0  # at which those between sessions do
    news: int = 0  # sum of the changes of these rates since demand was sent
    ends: list[tuple[int, int, int]] = field(
        default_factory=list
    )  # heap of buckets: end, context, stage
    hazard: SilenceHazard = field(default_factory=SilenceHazard)
    tempo: DemandTempo = field(default_factory=DemandTempo)
    warm_ups: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)  # series -> requests so far
    left: int = field(init=False)  # bytes, for further series and constituents
    _slowest: tuple[Catalog, int] | None = field(default=None, compare=False, repr=False)
    _counted: Catalog | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.left = MOST_BYTES - sum(map(_size, self.series)) - sum(map(_size, self.warm_ups))

    def anew(self, epoch: int) -> PoolSums:
        """A row with what this one has learnt, and without any silent user."""
        hazard = SilenceHazard(self.hazard.cells.copy())
        hazard.cells["inside"] = hazard.cells["since"] = 0
        return PoolSums(
            epoch, series=self.series, hazard=hazard, warm_ups=self.warm_ups, seen=self.seen
        )

    def number(self, service: str, tier: str) -> int | None:
        """The series of a composite and tier, made now if there is room for it."""
        found = self.series.get((service, tier))
        if found is None and self._room((service, tier)):
            found = self.series[service, tier] = len(self.series)
        return found

    def _room(self, name: str | tuple[str, ...]) -> bool:
        """Take the room of a further name, if there is as much left."""
        size = _size(name)
        if size > self.left:
            return False
        self.left -= size
        return True

    def count(self, service: str, tier: str) -> None:
        """Count a request, if there is room for its series."""
        i = self.number(service, tier)
        if i is not None:
            self.seen[i] = self.seen.get(i, 0) + 1

    def forget_unknown(self, catalog: Catalog) -> None:
        """Forget how often services were asked for that the catalogue has no more.

        Who reads demand leaves them out. If they come back, none of these requests is a new one.
        """
        if self._counted is not catalog:
            self._counted = catalog
            unknown = [i for (name, _), i in self.series.items() if not catalog.knows(name)]
            for i in unknown:
                self.seen.pop(i, None)

    def measured(self) -> tuple[MeasuredWarmUp, ...]:
        """All start-up times so far, summed by constituent."""
        return tuple(
            MeasuredWarmUp(service=name, count=count, total_ms=total, squares_ms2=squares)
            for name, (count, total, squares) in sorted(self.warm_ups.items())
        )

    def measure(self, m: MeasuredWarmUp) -> None:
        """Add start-up times of a constituent, if there is room and a demand may carry their sums."""
        if m.service not in self.warm_ups and not self._room(m.service):
            return
        count, total, squares = self.warm_ups.get(m.service, (0, 0, 0.0))
        added = (count + m.count, total + m.total_ms, squares + m.squares_ms2)
        if max(added[:2]) <= MOST_MS and squares + m.squares_ms2 <= float(MOST_MS) ** 2:
            self.warm_ups[m.service] = added
            self._slowest = None

    def slowest_ms(self, catalog: Catalog) -> int:
        """The longest start of all constituents: as measured, else as the catalogue says."""
        if self._slowest is None or self._slowest[0] is not catalog:
            said = {known.service: known.warm_up_ms for known in catalog.constituents.values()}
            measured = {
                name: total // count
                for name, (count, total, _) in self.warm_ups.items()
                if count >= ENOUGH and name in said
            }
            self._slowest = catalog, max({**said, **measured}.values(), default=0)
        return self._slowest[1]

    def demand(self, horizon_ms: int) -> tuple[ServiceDemand, ...]:
        """The expected requests within a horizon if the rates stay as they are now."""
        rates = np.zeros(len(self.series))
        for sums, factor in ((self.early, 1.0), (self.late, self.tempo.ratio)):
            size = min(len(sums.values), len(rates))
            rates[:size] += factor * sums.values[:size]
        expected = (rates * (horizon_ms / (RATE_UNIT * UNIT))).tolist()
        seen, series = self.seen, zip(self.series.items(), expected, strict=True)
        rows = [
            (service, tier, each, seen.get(i, 0))
            for ((service, tier), i), each in series
            if each or i in seen
        ]
        return tuple(map(_entry, rows))


def _size(name: str | tuple[str, ...]) -> int:
    """Bytes that a series or constituent of this name takes in a row or demand, at most."""
    return len("".join(name).encode()) + NUMBERS_BYTES


class PoolRoster(NamedTuple):
    """The pools of a partition, and its event time; a tuple, because each record makes several."""

    now_ms: int = -1
    pools: tuple[str, ...] = ()
    epochs: int = 0  # assigned so far
    leap_ms: int = -1  # a time far ahead seen in one record; a second one confirms it
    heard_ms: int = -1  # time of the last prediction
    sent_ms: int = -1  # when demand was sent last

    def passed_to(self, made_ms: int, record_ms: int, most_ms: int) -> PoolRoster:
        """With the event time of a prediction; a time in the future does not move the clock.

        Parameters
        ----------
        made_ms, record_ms
            When it was made, and when its record was produced (0: not known).
        most_ms
            A longer leap needs a second record.
        """
        now_ms = min(made_ms, record_ms or made_ms)
        if not 0 <= self.now_ms < now_ms - most_ms:
            return self._replace(now_ms=max(now_ms, self.now_ms))
        believed = abs(now_ms - self.leap_ms) <= most_ms
        return self._replace(now_ms=now_ms if believed else self.now_ms, leap_ms=now_ms)


@dataclass(frozen=True, slots=True)
class FormerRow:
    """A vector or sum of an earlier release, which no longer counts."""


Row = SilentUser | SilenceBucket | PoolSums | PoolRoster | HeardUser | FormerRow
