"""Requests that came against those that were expected, series by series, as machine code."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.allocator.valuation.catalog_index import Numbers
from streams.allocator.valuation.occupancy import Floats
from streams.models.kernels import B1, F8, FLOAT, I8, F8x2, kernel, named

__all__ = ["ALARM", "FORGOTTEN", "PRIOR", "compare", "passed_of"]

ALARM = 5.0  # CUSUM alarm threshold, in requests above the reference
TWICE = 1 / math.log(2)  # reference value of a Poisson CUSUM tuned to a doubled rate
RATE_MS = 10_000.0  # time constant of the rate estimate
FORGET_MS = 60_000.0  # time constant with which an alarm decays
LEARN = 50  # time constant of the calibration, in horizons
PRIOR = 5.0  # pseudo-count: requests that agreed with expectation
FORGOTTEN = 1e-3  # decayed counts below this are dropped


class PassedTime(NamedTuple):
    """What follows from the length of an interval."""

    ms: float
    horizon_ms: float
    kept_alarm: float  # factors on what was before
    kept_counts: float
    new_rate: float  # weight of the rate in the interval


PASSED = named(
    PassedTime, ms=FLOAT, horizon_ms=FLOAT, kept_alarm=FLOAT, kept_counts=FLOAT, new_rate=FLOAT
)


def passed_of(elapsed_ms: int, horizon_ms: int) -> PassedTime:
    """What follows from an interval of this length."""
    return PassedTime(
        float(elapsed_ms),
        float(horizon_ms),
        math.exp(-elapsed_ms / FORGET_MS),
        math.exp(-elapsed_ms / (LEARN * horizon_ms)),
        -math.expm1(-elapsed_ms / RATE_MS),
    )


@kernel(F8x2, I8, F8, F8x2, PASSED, F8x2, B1)
def compare(
    before: Floats,
    places: Numbers,
    counts: Floats,
    asked: Floats,
    passed: PassedTime,
    after: Floats,
    keep: NDArray[np.bool_],
) -> int:
    """Bring series up to the end of an interval; how many of them have not decayed away.

    The alarm is a CUSUM for Poisson counts (Lucas, Technometrics 27(2), 1985) with slow decay; it
    tests for twice the usual rate, which is the expectation corrected by experience.

    Parameters
    ----------
    before
        Alarms, rates, requests that came and that were expected, and rates expected from then on: a
        row each, by series.
    places
        Of the series in `asked`; beyond it for unknown services.
    counts
        Requests that came in the interval.
    asked
        Those expected within the horizon from now on, by composite and tier.
    after, keep
        Filled in: as `before`, and whether a series has not decayed away.
    """
    ms, horizon_ms, kept_alarm, kept_counts, new_rate = passed
    expected_by_place, left = asked.reshape(-1), 0
    for row in range(len(counts)):
        alarm, rate, came, known = before[0, row], before[1, row], before[2, row], before[3, row]
        is_known, count = places[row] < len(expected_by_place), counts[row]
        expected = before[4, row] * ms
        usual = expected * (came + PRIOR) / (known + PRIOR)
        alarm = min(max(kept_alarm * alarm + count - TWICE * usual, 0.0), 2 * ALARM)
        after[0, row], after[1, row] = alarm, rate + new_rate * (count / ms - rate)
        after[2, row] = kept_counts * came + count
        after[3, row] = kept_counts * known + expected
        after[4, row] = expected_by_place[places[row]] / horizon_ms if is_known else 0.0
        keep[row] = is_known and (alarm > 0.0 or after[2, row] >= FORGOTTEN)
        left += keep[row]
    return left
