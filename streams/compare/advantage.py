"""What foremesh saves against the best of the other policies, along the whole curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.compare.run import Row

__all__ = ["LEVELS", "OTHERS", "Advantage", "advantages"]

LEVELS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06)  # cold-start rates
OTHERS = ("keep-alive", "hybrid histogram", "greedy-dual")

_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantage:
    """At one cold-start rate; a figure is nan where a curve does not reach so far."""

    cold_start_rate: float  # of the best of the others here
    gb_hours: float  # that it wastes
    cold_s: float  # that its requests wait for starts
    oracle_gb_hours: float  # wasted by an oracle with as many cold starts
    often_gb_hours: float  # wasted by ours with as many cold starts
    long_gb_hours: float  # wasted by ours when requests wait as long for starts
    ours_cold_s: float  # that requests wait with ours when it wastes as much


@dataclass(frozen=True, slots=True)
class _Curve:
    """Points that no other one beats in both, by falling waste; straight in the logarithms.

    Between two points a policy can be had by switching from one to the other at times.
    """

    waste: _Numbers  # GB hours
    rate: _Numbers
    cold_s: _Numbers

    @classmethod
    def of(cls, rows: Iterable[Row]) -> _Curve:
        found = [
            (row.wasted_gb_s / 3600, row.cold_start_rate, row.cold_start_ms / 1000)
            for row in sorted(rows, key=lambda row: (row.wasted_gb_s, row.cold_start_rate))
            if row.wasted_gb_s > 0 and row.cold_start_ms > 0
        ]
        best: list[tuple[float, float, float]] = []
        for point in found:
            if not best or point[1] < best[-1][1]:
                best.append(point)
        waste, rate, cold_s = np.array(best[::-1]).reshape(-1, 3).T
        return cls(waste, rate, np.maximum.accumulate(cold_s))

    def waste_at(self, rate: float) -> float:
        return _between(rate, self.rate, self.waste)

    def waste_for(self, cold_s: float) -> float:
        return _between(cold_s, self.cold_s, self.waste)

    def cold_at(self, waste: float) -> float:
        return _between(waste, self.waste[::-1], self.cold_s[::-1])


def _between(x: float, xs: _Numbers, ys: _Numbers) -> float:
    if not len(xs) or not xs[0] <= x <= xs[-1]:
        return math.nan
    return float(np.exp(np.interp(np.log(x), np.log(xs), np.log(ys))))


def advantages(rows: Sequence[Row], levels: Sequence[float] = LEVELS) -> list[Advantage]:
    """Ours beside the best of the others at each of these cold-start rates.

    The others are taken together: their best points, whichever policy they are of, make one
    curve, so that ours has to beat all of them at once.
    """
    others = _Curve.of(row for row in rows if row.policy in OTHERS)
    ours = _Curve.of(row for row in rows if row.policy == "foremesh")
    oracle = _Curve.of(row for row in rows if row.policy == "oracle")
    found = []
    for rate in levels:
        waste = others.waste_at(rate)
        cold_s = others.cold_at(waste)
        found.append(
            Advantage(
                cold_start_rate=rate,
                gb_hours=waste,
                cold_s=cold_s,
                oracle_gb_hours=oracle.waste_at(rate),
                often_gb_hours=ours.waste_at(rate),
                long_gb_hours=ours.waste_for(cold_s),
                ours_cold_s=ours.cold_at(waste),
            )
        )
    return found
