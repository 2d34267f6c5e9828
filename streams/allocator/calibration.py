"""What was asked against what was expected: bursts are followed at once, and trust is learnt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from streams.allocator.valuation.catalog_index import Anatomy, Asked
from streams.allocator.valuation.tail_probability import Floats
from streams.records import Demand

__all__ = ["Pair", "Series", "Trust", "Watch"]

Pair = tuple[str, str]  # composite and tier

ALARM = 5.0  # requests above the reference that are no chance any more
TWICE = 1 / math.log(2)  # reference of a Poisson CUSUM that looks for twice the rate, in rates
RATE_MS = 10_000.0  # over so long the rate of a burst is measured
FORGET_MS = 60_000.0  # an alarm that nothing confirms dies away within a few of these
LEARN = 50  # horizons over which a share is learnt
PRIOR = 5.0  # requests or uses that count as having come as expected
WORST, BEST = 0.5, 2.0  # bounds of what is learnt
FORGOTTEN = 1e-3  # below this a series is as if never seen


class Series(NamedTuple):
    """Requests of one composite and tier."""

    alarm: float = 0.0  # the CUSUM
    rate: float = 0.0  # requests a ms, of late
    asked: float = 0.0  # requests that came, fading
    expected: float = 0.0  # requests that were expected, fading

    def after(self, count: int, expected: float, elapsed_ms: int, horizon_ms: int) -> Series:
        """Take an interval in: so many requests came, so many were expected.

        The alarm is a CUSUM for Poisson counts (Lucas, Technometrics 27(2), 1985) against
        twice the rate that is usual for what was expected, with a slow loss of memory.
        """
        usual = expected * (self.asked + PRIOR) / (self.expected + PRIOR)
        kept = math.exp(-elapsed_ms / FORGET_MS)
        alarm = min(2 * ALARM, max(0.0, kept * self.alarm + count - TWICE * usual))
        moved = -math.expm1(-elapsed_ms / RATE_MS) * (count / elapsed_ms - self.rate)
        kept = math.exp(-elapsed_ms / (LEARN * horizon_ms))
        return Series(
            alarm, self.rate + moved, kept * self.asked + count, kept * self.expected + expected
        )


NEVER = Series()  # of a composite and tier of which no request has come


class Trust(NamedTuple):
    """How often a constituent was needed within a horizon, against how often that was expected."""

    begun_ms: int = 0
    chance: float = 0.0  # that it is needed in the horizon that began then
    needed: bool = False  # and whether it was
    uses: float = 0.0  # over the horizons before, fading
    expected: float = 0.0

    @property
    def factor(self) -> float:
        """What an expected chance is to be multiplied by."""
        return min(BEST, max(WORST, (self.uses + PRIOR) / (self.expected + PRIOR)))

    def settle(self, now_ms: int, chance: float) -> Trust:
        """End a horizon, and begin the next."""
        uses = self.uses + (self.needed - self.uses / LEARN)
        expected = self.expected + (self.chance - self.expected / LEARN)
        return Trust(now_ms, chance, False, uses, expected)


@dataclass(frozen=True, slots=True)
class Watch:
    """What a pool remembers of requests that came; a value: each method returns a new one."""

    at_ms: int = 0  # up to here time was taken in
    fresh: Mapping[Pair, int] = field(default_factory=dict)  # requests since
    series: Mapping[Pair, Series] = field(default_factory=dict)
    trust: Mapping[str, Trust] = field(default_factory=dict)  # by constituent

    def hear(self, before: Demand | None, now: Demand) -> Watch:
        """Count the requests that came between two demands of a partition."""
        if before is None:
            return self
        known = {(s.service, s.tier): s.seen for s in before.services if s.seen}
        more = dict[Pair, int]()
        for s in now.services:
            if s.seen:
                pair = (s.service, s.tier)
                count = s.seen - known.get(pair, 0)
                # A count that has fallen was begun anew.
                if count:
                    more[pair] = more.get(pair, self.fresh.get(pair, 0)) + (
                        count if count > 0 else s.seen
                    )
        return Watch(self.at_ms, {**self.fresh, **more}, self.series, self.trust) if more else self

    def advance(
        self, asked: Asked, anatomy: Anatomy, now_ms: int, horizon_ms: int
    ) -> tuple[Watch, Mapping[Pair, int]]:
        """Compare the requests since the last time with what is asked for.

        Returns
        -------
        The new value, and these requests: none when no time has passed, so that each counts once.
        """
        if horizon_ms <= 0 or now_ms <= self.at_ms:
            return self, {}
        if self.at_ms == 0:
            return Watch(now_ms, {}, self.series, self.trust), self.fresh
        series = self._compared(asked, anatomy, now_ms - self.at_ms, horizon_ms)
        return Watch(now_ms, {}, series, self._needed(anatomy)), self.fresh

    def lift(self, asked: Asked, anatomy: Anatomy, horizon_ms: int) -> Asked:
        """What is asked, where there is a burst at least what came of late."""
        if horizon_ms <= 0:
            return asked
        mean, variance = asked.mean.copy(), asked.variance.copy()
        for pair, series in self.series.items():
            place = anatomy.place(pair)
            if place is not None and series.alarm >= ALARM:
                more = max(0.0, series.rate * horizon_ms - float(mean[place]))
                mean[place] += more
                variance[place] += more
        return Asked(mean, variance)

    def _compared(
        self, asked: Asked, anatomy: Anatomy, elapsed_ms: int, horizon_ms: int
    ) -> Mapping[Pair, Series]:
        """The series after an interval, without those that are as if never seen."""
        series = dict(self.series)
        for pair in sorted(series.keys() | self.fresh.keys()):
            place = anatomy.place(pair)
            new = series.get(pair, NEVER)
            if place is not None:
                expected = float(asked.mean[place]) * elapsed_ms / horizon_ms
                new = new.after(self.fresh.get(pair, 0), expected, elapsed_ms, horizon_ms)
            if place is None or (new.alarm <= 0.0 and new.asked < FORGOTTEN):
                series.pop(pair, None)
            else:
                series[pair] = new
        return series

    def factors(self, anatomy: Anatomy) -> Floats:
        """What the expected chance of each constituent is to be multiplied by."""
        factors = np.ones(len(anatomy.constituents))
        for name, trust in self.trust.items():
            if name in anatomy.number:
                factors[anatomy.number[name]] = trust.factor
        return factors

    def learn(self, anatomy: Anatomy, chance: Floats, now_ms: int, horizon_ms: int) -> Watch:
        """Compare, a horizon later, whether constituents were needed with how likely that was.

        Parameters
        ----------
        chance
            That each is needed within the horizon, before it was multiplied by `factors`.
        """
        if not self.series:
            return self  # nobody tells what comes
        likely = {anatomy.constituents[i].service: float(chance[i]) for i in np.flatnonzero(chance)}
        trust = dict(self.trust)
        for name in sorted(likely.keys() | trust.keys()):
            known = trust.get(name)
            new = known or Trust(now_ms, likely.get(name, 0.0))
            if now_ms - new.begun_ms >= horizon_ms:
                new = new.settle(now_ms, likely.get(name, 0.0))
            if new is known:
                continue
            if new.expected < FORGOTTEN and new.uses < FORGOTTEN and name not in likely:
                trust.pop(name, None)
            else:
                trust[name] = new
        return Watch(self.at_ms, self.fresh, self.series, trust)

    def _needed(self, anatomy: Anatomy) -> Mapping[str, Trust]:
        """Note which constituents the fresh requests needed."""
        parts = {part for service, _ in self.fresh for part in anatomy.parts_of(service)}
        names = [anatomy.constituents[part].service for part in sorted(parts)]
        needed = {
            name: trust._replace(needed=True)
            for name in names
            if (trust := self.trust.get(name)) is not None and not trust.needed
        }
        return {**self.trust, **needed} if needed else self.trust

    def form(self) -> list[Any]:
        """As plain values."""
        return [
            self.at_ms,
            [[*pair, count] for pair, count in self.fresh.items()],
            [[*pair, s.alarm, s.rate, s.asked, s.expected] for pair, s in self.series.items()],
            [
                [n, t.begun_ms, t.chance, t.needed, t.uses, t.expected]
                for n, t in self.trust.items()
            ],
        ]

    @classmethod
    def of(cls, form: Iterable[Any]) -> Watch:
        """From plain values."""
        at_ms, fresh, series, trust = form
        return cls(
            at_ms,
            {(service, tier): count for service, tier, count in fresh},
            {(service, tier): Series(*values) for service, tier, *values in series},
            {name: Trust(*values) for name, *values in trust},
        )
