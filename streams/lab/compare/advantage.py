"""The warm time that foremesh saves over the best other policies, along their Pareto curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.lab.compare.run import PolicyRow

__all__ = ["LEVELS", "OTHERS", "CurveAdvantage", "advantages"]

LEVELS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06)  # cold-start rates
ROUNDING = 1e-9  # relative error of a value that went through a logarithm and back
OTHERS = ("keep-alive", "hybrid histogram", "greedy-dual")

_Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveAdvantage:
    """foremesh and the other policies at one cold-start rate; NaN where a curve does not extend."""

    cold_start_rate: float
    gb_hours: float  # warm time of the best other policy at this rate
    cold_s: float  # total wait for cold starts of the best other policy with this warm time
    ours_cold_s: float  # total wait of foremesh with a warm time of `gb_hours`


@dataclass(frozen=True, slots=True)
class _ParetoCurve:
    """The Pareto-optimal points by falling waste, joined by straight lines in the logarithms.

    A point between two others is reached by switching between their policies over time.
    """

    waste: _Numbers  # warm time, in GB hours
    cold: _Numbers  # cold-start rate, or total wait in seconds

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> _ParetoCurve:
        best: list[tuple[float, float]] = []
        for waste, cold in sorted(points):
            if waste > 0 and cold > 0 and (not best or cold < best[-1][1]):
                best.append((waste, cold))
        wastes, colds = np.array(best[::-1]).reshape(-1, 2).T
        return cls(wastes, colds)

    def waste_at(self, cold: float) -> float:
        return _interpolated(cold, self.cold, self.waste)

    def cold_at(self, waste: float) -> float:
        return _interpolated(waste, self.waste[::-1], self.cold[::-1])


def _rate_curve(rows: Iterable[PolicyRow]) -> _ParetoCurve:
    return _ParetoCurve.of((row.wasted_gb_s / 3600, row.cold_start_rate) for row in rows)


def _wait_curve(rows: Iterable[PolicyRow]) -> _ParetoCurve:
    return _ParetoCurve.of((row.wasted_gb_s / 3600, row.cold_start_ms / 1000) for row in rows)


def _interpolated(x: float, xs: _Numbers, ys: _Numbers) -> float:
    """Interpolate in the logarithms; NaN outside of the curve."""
    if not len(xs) or not xs[0] * (1 - ROUNDING) <= x <= xs[-1] * (1 + ROUNDING):
        return math.nan
    return float(np.exp(np.interp(np.log(x), np.log(xs), np.log(ys))))


def advantages(rows: Sequence[PolicyRow], levels: Sequence[float] = LEVELS) -> list[CurveAdvantage]:
    """Compare foremesh with the best other policies at each of these cold-start rates.

    The points of all other policies together make one Pareto curve of cold-start rates and one
    of waits, so foremesh is compared with the best of them at each point.
    """
    others = [row for row in rows if row.policy in OTHERS]
    ours = [row for row in rows if row.policy == "foremesh"]
    others_by_rate, others_by_wait = _rate_curve(others), _wait_curve(others)
    ours_by_wait = _wait_curve(ours)
    compared = []
    for rate in levels:
        waste = others_by_rate.waste_at(rate)
        cold_s = others_by_wait.cold_at(waste)
        compared.append(
            CurveAdvantage(
                cold_start_rate=rate,
                gb_hours=waste,
                cold_s=cold_s,
                ours_cold_s=ours_by_wait.cold_at(waste),
            )
        )
    return compared
