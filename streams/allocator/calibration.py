"""Calibrates demand: compares arrivals with expectations, detects bursts, learns factors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from streams.allocator.valuation.catalog_index import CatalogIndex, ExpectedRequests
from streams.allocator.valuation.tail_probability import Floats
from streams.records import Demand

__all__ = ["DemandCalibration", "NeedCalibration", "Pair", "RequestSeries"]

Pair = tuple[str, str]  # composite and tier

ALARM = 5.0  # CUSUM alarm threshold, in requests above the reference
TWICE = 1 / math.log(2)  # reference value of a Poisson CUSUM tuned to a doubled rate
RATE_MS = 10_000.0  # time constant of the rate estimate
FORGET_MS = 60_000.0  # time constant with which an alarm decays
LEARN = 50  # time constant of the calibration, in horizons
PRIOR = 5.0  # pseudo-count: requests or uses that agreed with expectation
WORST, BEST = 0.5, 2.0  # bounds of the calibration factor
FORGOTTEN = 1e-3  # decayed counts below this are dropped


class RequestSeries(NamedTuple):
    """Arrivals of one composite and tier against their expectation; immutable."""

    alarm: float = 0.0  # CUSUM statistic
    rate: float = 0.0  # recent rate, requests per ms
    asked: float = 0.0  # arrivals, exponentially decayed
    expected: float = 0.0  # expected arrivals, decayed likewise

    def after(self, count: int, expected: float, elapsed_ms: int, horizon_ms: int) -> RequestSeries:
        """The series after an interval with these actual and expected arrivals.

        The alarm is a CUSUM for Poisson counts (Lucas, Technometrics 27(2), 1985) with slow decay;
        it tests for twice the usual rate, which is the expectation corrected by experience.
        """
        usual = expected * (self.asked + PRIOR) / (self.expected + PRIOR)
        kept = math.exp(-elapsed_ms / FORGET_MS)
        alarm = min(2 * ALARM, max(0.0, kept * self.alarm + count - TWICE * usual))
        moved = -math.expm1(-elapsed_ms / RATE_MS) * (count / elapsed_ms - self.rate)
        kept = math.exp(-elapsed_ms / (LEARN * horizon_ms))
        return RequestSeries(
            alarm, self.rate + moved, kept * self.asked + count, kept * self.expected + expected
        )


NEVER = RequestSeries()  # before the first request


class NeedCalibration(NamedTuple):
    """How often a constituent was needed within a horizon, against its expectation; immutable."""

    begun_ms: int = 0
    chance: float = 0.0  # expected probability of need in the horizon that began then
    needed: bool = False  # whether it has been needed in it
    uses: float = 0.0  # earlier horizons in which it was needed, decayed
    expected: float = 0.0

    @property
    def factor(self) -> float:
        """Calibration factor for the expected probability."""
        return min(BEST, max(WORST, (self.uses + PRIOR) / (self.expected + PRIOR)))

    def settle(self, now_ms: int, chance: float) -> NeedCalibration:
        """Close the current horizon and begin the next."""
        uses = self.uses + (self.needed - self.uses / LEARN)
        expected = self.expected + (self.chance - self.expected / LEARN)
        return NeedCalibration(now_ms, chance, False, uses, expected)


@dataclass(frozen=True, slots=True)
class DemandCalibration:
    """Calibration state of a pool; immutable: methods that change it return a new one."""

    at_ms: int = 0  # arrivals are accounted for up to this time
    arrived: Mapping[Pair, int] = field(default_factory=dict)  # requests reported since then
    series: Mapping[Pair, RequestSeries] = field(default_factory=dict)
    by_constituent: Mapping[str, NeedCalibration] = field(default_factory=dict)  # by constituent

    def hear(self, before: Demand | None, now: Demand) -> DemandCalibration:
        """Count the requests reported between two demand records of a partition."""
        if before is None:
            return self
        known = {(s.service, s.tier): s.seen for s in before.services if s.seen}
        more = dict[Pair, int]()
        for s in now.services:
            if s.seen:
                pair = (s.service, s.tier)
                count = s.seen - known.get(pair, 0)
                # A lower count than before means that the counter was reset.
                if count:
                    more[pair] = more.get(pair, self.arrived.get(pair, 0)) + (
                        count if count > 0 else s.seen
                    )
        return (
            DemandCalibration(
                self.at_ms, {**self.arrived, **more}, self.series, self.by_constituent
            )
            if more
            else self
        )

    def advance(
        self, asked: ExpectedRequests, index: CatalogIndex, now_ms: int, horizon_ms: int
    ) -> tuple[DemandCalibration, Mapping[Pair, int]]:
        """Compare the requests that arrived since the last call with the expected ones.

        Returns
        -------
        The new calibration, and the requests that were accounted for: none if no time has passed.
        """
        if horizon_ms <= 0 or now_ms <= self.at_ms:
            return self, {}
        if self.at_ms == 0:
            return DemandCalibration(now_ms, {}, self.series, self.by_constituent), self.arrived
        series = self._compared(asked, index, now_ms - self.at_ms, horizon_ms)
        return DemandCalibration(now_ms, {}, series, self._needed(index)), self.arrived

    def lift(
        self, asked: ExpectedRequests, index: CatalogIndex, horizon_ms: int
    ) -> ExpectedRequests:
        """The expected requests, raised to the recent rate where there is a burst."""
        if horizon_ms <= 0:
            return asked
        mean, variance = asked.mean.copy(), asked.variance.copy()
        for pair, series in self.series.items():
            place = index.place(pair)
            if place is not None and series.alarm >= ALARM:
                more = max(0.0, series.rate * horizon_ms - float(mean[place]))
                mean[place] += more
                variance[place] += more
        return ExpectedRequests(mean, variance)

    def _compared(
        self, asked: ExpectedRequests, index: CatalogIndex, elapsed_ms: int, horizon_ms: int
    ) -> Mapping[Pair, RequestSeries]:
        """The series after an interval, without those that have decayed away."""
        series = dict(self.series)
        for pair in sorted(series.keys() | self.arrived.keys()):
            place = index.place(pair)
            new = series.get(pair, NEVER)
            if place is not None:
                expected = float(asked.mean[place]) * elapsed_ms / horizon_ms
                new = new.after(self.arrived.get(pair, 0), expected, elapsed_ms, horizon_ms)
            if place is None or (new.alarm <= 0.0 and new.asked < FORGOTTEN):
                series.pop(pair, None)
            else:
                series[pair] = new
        return series

    def factors(self, index: CatalogIndex) -> Floats:
        """Calibration factor per constituent."""
        factors = np.ones(len(index.constituents))
        for name, trust in self.by_constituent.items():
            if name in index.number:
                factors[index.number[name]] = trust.factor
        return factors

    def learn(
        self, index: CatalogIndex, chance: Floats, now_ms: int, horizon_ms: int
    ) -> DemandCalibration:
        """Close the horizons that have ended, and begin new ones with these probabilities.

        Parameters
        ----------
        chance
            Uncalibrated probability that each constituent is needed within the horizon.
        """
        if not self.series:
            return self  # no arrivals are reported
        likely = {index.constituents[i].service: float(chance[i]) for i in np.flatnonzero(chance)}
        trust = dict(self.by_constituent)
        for name in sorted(likely.keys() | trust.keys()):
            known = trust.get(name)
            new = known or NeedCalibration(now_ms, likely.get(name, 0.0))
            if now_ms - new.begun_ms >= horizon_ms:
                new = new.settle(now_ms, likely.get(name, 0.0))
            if new is known:
                continue
            if new.expected < FORGOTTEN and new.uses < FORGOTTEN and name not in likely:
                trust.pop(name, None)
            else:
                trust[name] = new
        return DemandCalibration(self.at_ms, self.arrived, self.series, trust)

    def _needed(self, index: CatalogIndex) -> Mapping[str, NeedCalibration]:
        """Mark the constituents that the arrived requests needed."""
        parts = {part for service, _ in self.arrived for part in index.parts_of(service)}
        names = [index.constituents[part].service for part in sorted(parts)]
        needed = {
            name: trust._replace(needed=True)
            for name in names
            if (trust := self.by_constituent.get(name)) is not None and not trust.needed
        }
        return {**self.by_constituent, **needed} if needed else self.by_constituent

    def form(self) -> list[Any]:
        """As plain values."""
        return [
            self.at_ms,
            [[*pair, count] for pair, count in self.arrived.items()],
            [[*pair, s.alarm, s.rate, s.asked, s.expected] for pair, s in self.series.items()],
            [
                [n, t.begun_ms, t.chance, t.needed, t.uses, t.expected]
                for n, t in self.by_constituent.items()
            ],
        ]

    @classmethod
    def of(cls, form: Iterable[Any]) -> DemandCalibration:
        """From plain values."""
        at_ms, arrived, series, trust = form
        return cls(
            at_ms,
            {(service, tier): count for service, tier, count in arrived},
            {(service, tier): RequestSeries(*values) for service, tier, *values in series},
            {name: NeedCalibration(*values) for name, *values in trust},
        )
