"""A histogram of idle times in bins of one minute."""

from __future__ import annotations

import numpy as np

__all__ = ["IdleTimes"]

REPRESENTATIVE_CV = 2.0  # ATC'20, section 4.2: coefficient of variation of the bin counts
FEW = 4  # fewest idle times for a representative histogram


class IdleTimes:
    """A histogram of idle times within a range; longer ones are counted separately.

    Parameters
    ----------
    minutes
        The range: the number of bins.
    """

    def __init__(self, minutes: int) -> None:
        self._bins = np.zeros(minutes, np.int64)
        self._beyond = 0

    def add(self, minutes: int) -> None:
        """Count an idle time."""
        if minutes < len(self._bins):
            self._bins[minutes] += 1
        else:
            self._beyond += 1

    @property
    def representative(self) -> bool:
        """Whether the counts are concentrated, and most idle times are within the range."""
        within = int(self._bins.sum())
        if within < FEW or self._beyond > within:
            return False
        return float(self._bins.std() / self._bins.mean()) > REPRESENTATIVE_CV

    def percentile(self, share: float) -> int:
        """The bin (in minutes) that holds this percentile of the idle times within the range."""
        cumulative = np.cumsum(self._bins)
        return int(np.searchsorted(cumulative, share * cumulative[-1]))
