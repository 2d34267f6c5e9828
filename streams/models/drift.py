"""A drift detector as a record of the state, in machine code."""

from __future__ import annotations

import math

import numpy as np

from streams.models.kernels import FLOAT, Record, Records, array_of, inner, kernel, record

__all__ = ["DETECTOR", "DETECTORS", "drifts", "no_drift", "update"]

# Values up to the cut, where their mean had its lowest bound, and since the last drift.
DETECTOR = record(least=np.float64, mean=np.float64, least_n=np.uint32, n=np.uint32)
DETECTORS = array_of(DETECTOR)
_CONFIDENCE = 0.001  # probability of a false alarm, as in river.drift.binary.HDDMA
_ONE_MEAN = math.log(1.0 / _CONFIDENCE)
_TWO_MEANS = math.log(2.0 / _CONFIDENCE)


def no_drift() -> Records:
    """A detector that has seen nothing."""
    return np.zeros(1, DETECTOR)


@inner
def _bound(n: float) -> float:
    """Hoeffding's bound on the mean of n values."""
    return math.sqrt(_ONE_MEAN / (2.0 * n))


@inner
def drifts(detector: Record, value: float) -> int:
    """Take in a value from 0 to 1; for how many values they have been larger: 0 if they are not.

    After a drift the detector begins anew.

    HDDM-A has the guarantee of Hoeffding's bound, as ADWIN has, is one-sided, and its state is
    two means, where ADWIN's is a list of histograms that can only be pickled. River's HDDMA keeps
    the same two means in private attributes; a test holds that both detect alike.

    References
    ----------
    Frías-Blanco et al. (2015), Online and non-parametric drift detection methods based on
    Hoeffding's bounds, IEEE TKDE 27(3).
    """
    detector.n += 1
    n = float(detector.n)
    detector.mean += (value - detector.mean) / n
    least_n = float(detector.least_n)
    if least_n == 0.0 or detector.least + _bound(least_n) >= detector.mean + _bound(n):
        detector.least_n, detector.least = detector.n, detector.mean
        return 0
    spread = (n - least_n) / least_n / n
    if detector.mean - detector.least < math.sqrt(spread / 2.0 * _TWO_MEANS):
        return 0
    detector.n = detector.least_n = 0
    detector.mean = detector.least = 0.0
    return int(n - least_n)


@kernel(DETECTORS, FLOAT)
def update(detectors: Records, value: float) -> int:
    """`drifts`, of the one detector in an array."""
    return drifts(detectors[0], value)
