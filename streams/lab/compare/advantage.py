"""What foremesh saves against the best of the other policies, along the whole curve."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.lab.compare.run import PolicyRow

__all__ = ["LEVELS", "OTHERS", "CurveAdvantage", "advantages"]

LEVELS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06)  # cold-start rates
ROUNDING = 1e-9  # of what comes back from the logarithm
OTHERS = ("keep-alive", "hybrid histogram", "greedy-dual")

_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveAdvantage:
    """At one cold-start rate; a figure is nan where a curve does not reach so far."""

    cold_start_rate: float  # of the best of the others here
    gb_hours: float  # that it wastes
    cold_s: float  # that requests wait for starts with the best of the others that waste as much
    oracle_gb_hours: float  # wasted by an oracle with as many cold starts
    often_gb_hours: float  # wasted by ours with as many cold starts
    long_gb_hours: float  # wasted by ours when requests wait as long for starts
    ours_cold_s: float  # that requests wait with ours when it wastes as much


@dataclass(frozen=True, slots=True)
class _ParetoCurve:
    """Points that no other one beats in both, by falling waste; straight in the logarithms.

    Between two points a policy can be had by switching from one to the other at times.
    """

    waste: _Numbers  # GB hours
    cold: _Numbers  # share of requests, or seconds that they wait

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> _ParetoCurve:
        best: list[tuple[float, float]] = []
        for waste, cold in sorted(points):
            if waste > 0 and cold > 0 and (not best or cold < best[-1][1]):
                best.append((waste, cold))
        wastes, colds = np.array(best[::-1]).reshape(-1, 2).T
        return cls(wastes, colds)

    def waste_at(self, cold: float) -> float:
        return _between(cold, self.cold, self.waste)

    def cold_at(self, waste: float) -> float:
        return _between(waste, self.waste[::-1], self.cold[::-1])


def _often(rows: Iterable[PolicyRow]) -> _ParetoCurve:
    return _ParetoCurve.of((row.wasted_gb_s / 3600, row.cold_start_rate) for row in rows)


def _long(rows: Iterable[PolicyRow]) -> _ParetoCurve:
    return _ParetoCurve.of((row.wasted_gb_s / 3600, row.cold_start_ms / 1000) for row in rows)


def _between(x: float, xs: _Numbers, ys: _Numbers) -> float:
    if not len(xs) or not xs[0] * (1 - ROUNDING) <= x <= xs[-1] * (1 + ROUNDING):
        return math.nan
    return float(np.exp(np.interp(np.log(x), np.log(xs), np.log(ys))))


def advantages(rows: Sequence[PolicyRow], levels: Sequence[float] = LEVELS) -> list[CurveAdvantage]:
    """Ours beside the best of the others at each of these cold-start rates.

    The others are taken together: their best points, whichever policy they are of, make one
    curve of how often and one of how long requests wait, so that ours has to beat all at once.
    """
    others = [row for row in rows if row.policy in OTHERS]
    ours = [row for row in rows if row.policy == "foremesh"]
    oracle = _often(row for row in rows if row.policy == "oracle")
    others_often, others_long = _often(others), _long(others)
    ours_often, ours_long = _often(ours), _long(ours)
    found = []
    for rate in levels:
        waste = others_often.waste_at(rate)
        cold_s = others_long.cold_at(waste)
        found.append(
            CurveAdvantage(
                cold_start_rate=rate,
                gb_hours=waste,
                cold_s=cold_s,
                oracle_gb_hours=oracle.waste_at(rate),
                often_gb_hours=ours_often.waste_at(rate),
                long_gb_hours=ours_long.waste_at(cold_s),
                ours_cold_s=ours_long.cold_at(waste),
            )
        )
    return found
