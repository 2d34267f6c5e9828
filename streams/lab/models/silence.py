"""The hazard of a silent user's next request, by the length and the context of the silence."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

__all__ = ["EDGES_MS", "SilenceHazard", "context_of", "stage_of"]

# Where the hazard may change: fine within a session, then coarser with age, to four months.
EDGES_MS = (
    *(0, 15_000, 30_000, 45_000, 60_000, 80_000, 100_000, 120_000, 160_000, 240_000, 360_000),
    *(480_000, 700_000, 900_000, 1_400_000, 1_800_000, 2_700_000, 3_600_000, 7_200_000),
    *(14_400_000, 28_800_000, 57_600_000, 86_400_000, 108_000_000, 151_200_000, 216_000_000),
    *(345_600_000, 691_200_000, 1_382_400_000, 2_764_800_000, 10_368_000_000),
)
_WITHIN = (0.15, 0.3, 0.45, 0.6)
_GAPS_MS = (45_000, 100_000, 400_000, 86_400_000)
_CONTEXTS = (len(_WITHIN) + 1) * (len(_GAPS_MS) + 1)
_PRIOR = 4.0  # pseudo-requests that shrink a context's hazard towards that of all
_UNKNOWN = 0.3  # prior of hazard times age, as for gaps spread evenly over octaves


def context_of(within: float, gap_ms: int | None) -> int:
    """The context of a silence.

    Parameters
    ----------
    within
        Predicted probability that the next request comes within the horizon.
    gap_ms
        Time between the user's last two requests; None after the first.
    """
    gap = len(_GAPS_MS) if gap_ms is None else bisect_right(_GAPS_MS, gap_ms)
    return bisect_right(_WITHIN, within) * (len(_GAPS_MS) + 1) + gap


def stage_of(age_ms: int) -> int:
    """The stage of a silence of this age; the last stage has no end."""
    return bisect_right(EDGES_MS, age_ms) - 1


class SilenceHazard:
    """Hazard of a user's next request: requests for each ms of silence, per stage and context.

    Idea: a piecewise exponential model. In each stage the hazard is the number of silences that
    ended there divided by the time that all spent there. Silences that still last are censored:
    they count with their time so far, so nothing is learnt from the future, and users who never
    return count too. A context's own hazard is shrunk to that of all.

    Guarantees: the maximum-likelihood estimate of a hazard that is constant in each stage; all
    numbers are sums, so those of several partitions may be added.

    Examples
    --------
    >>> silence = SilenceHazard()
    >>> for start in range(0, 9_000_000, 1_000_000):  # ten silences of 5 s each
    ...     silence.enter(0, 0, start)
    ...     silence.leave(0, 0, start, start + 5_000, asked=True)
    >>> round(1 / silence.rate(0, 0, 9_000_000))
    5729

    References
    ----------
    Friedman (1982), Piecewise exponential models for survival data with covariates, Annals of
    Statistics 10(1).
    """

    def __init__(self) -> None:
        shape = (_CONTEXTS + 1, len(EDGES_MS))  # the last row is for all contexts
        ends = np.array([*EDGES_MS[1:], 2 * EDGES_MS[-1]], np.float64)
        self._asked = np.zeros(shape)
        self._spent = np.zeros(shape)
        self._asked[-1] = 0.5
        self._spent[-1] = 0.5 * ends / _UNKNOWN
        self._inside = np.zeros(shape)  # silences that are in the stage now
        self._since = np.zeros(shape)  # sum of the times at which they entered it

    def enter(self, context: int, stage: int, at_ms: int) -> None:
        """Count a silence that enters a stage."""
        for row in (context, -1):
            self._inside[row, stage] += 1
            self._since[row, stage] += at_ms

    def leave(
        self, context: int, stage: int, since_ms: int, at_ms: int, *, asked: bool = False
    ) -> None:
        """Count a silence that leaves a stage, entered at `since_ms`, by a request or by its age."""
        for row in (context, -1):
            self._inside[row, stage] -= 1
            self._since[row, stage] -= since_ms
            self._spent[row, stage] += at_ms - since_ms
            self._asked[row, stage] += asked

    def rate(self, context: int, stage: int, now_ms: int) -> float:
        """The hazard, in requests per ms."""
        everyone = self._asked[-1, stage] / self._time(-1, stage, now_ms)
        own = self._asked[context, stage] + _PRIOR
        return float(own / (self._time(context, stage, now_ms) + _PRIOR / everyone))

    def _time(self, row: int, stage: int, now_ms: int) -> float:
        lasting = self._inside[row, stage] * now_ms - self._since[row, stage]
        return float(self._spent[row, stage] + max(0.0, lasting))
