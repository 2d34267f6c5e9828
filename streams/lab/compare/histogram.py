"""Idle times in bins of a minute."""

from __future__ import annotations

import numpy as np

__all__ = ["IdleTimes"]

REPRESENTATIVE_CV = 2.0  # ATC'20, section 4.2: coefficient of variation of the bin counts
FEW = 4  # idle times below which nothing is concluded


class IdleTimes:
    """A histogram of idle times up to a range; longer ones are counted apart.

    Parameters
    ----------
    minutes
        The range.
    """

    def __init__(self, minutes: int) -> None:
        self._bins = np.zeros(minutes, np.int64)
        self._beyond = 0

    def add(self, minutes: int) -> None:
        """Take an idle time in."""
        if minutes < len(self._bins):
            self._bins[minutes] += 1
        else:
            self._beyond += 1

    @property
    def representative(self) -> bool:
        """Whether the histogram says something: concentrated, and most of it within the range."""
        within = int(self._bins.sum())
        if within < FEW or self._beyond > within:
            return False
        return float(self._bins.std() / self._bins.mean()) > REPRESENTATIVE_CV

    def percentile(self, share: float) -> int:
        """The bin (minutes) in which this share of the idle times within the range is reached."""
        reached = np.cumsum(self._bins)
        return int(np.searchsorted(reached, share * reached[-1]))
