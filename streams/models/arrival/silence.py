"""The hazard of a silent user's next request, by the length and the context of the silence."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from streams.models.kernels import INT, Record, Records, array_of, inner, kernel, record, repeated
from streams.models.state_bytes import unpacked

__all__ = ["CELLS", "EDGES_MS", "STAGES", "SilenceHazard", "context_of", "stage_of"]

# Where the hazard may change: fine within a session, then coarser with age, to four months.
EDGES_MS = (
    *(0, 15_000, 30_000, 45_000, 60_000, 80_000, 100_000, 120_000, 160_000, 240_000, 360_000),
    *(480_000, 700_000, 900_000, 1_400_000, 1_800_000, 2_700_000, 3_600_000, 7_200_000),
    *(14_400_000, 28_800_000, 57_600_000, 86_400_000, 108_000_000, 151_200_000, 216_000_000),
    *(345_600_000, 691_200_000, 1_382_400_000, 2_764_800_000, 10_368_000_000),
)
STAGES = len(EDGES_MS)
_WITHIN = (0.15, 0.3, 0.45, 0.6)
_GAPS_MS = (45_000, 100_000, 400_000, 86_400_000)
_CONTEXTS = (len(_WITHIN) + 1) * (len(_GAPS_MS) + 1)
CELLS = (_CONTEXTS + 1) * STAGES  # by context and stage; those of the last row are of all contexts
_PRIOR = 4.0  # pseudo-requests that shrink a context's hazard towards that of all
_UNKNOWN = 0.3  # prior of hazard times age, as for gaps spread evenly over octaves
_PRIOR_ALL = 0.5  # pseudo-requests of that prior
_ENDS_MS = np.array([*EDGES_MS[1:], 2 * EDGES_MS[-1]], np.float64)
_PRIOR_MS = _PRIOR_ALL * _ENDS_MS / _UNKNOWN
MOST = 2.0**-7  # hazard per ms: sums over users stay in 64 bits

CELL = record(asked=np.int64, spent=np.int64, inside=np.int64, since=np.int64)


def context_of(within: float, gap_ms: int | None) -> int:
    """The context of a silence.

    Parameters
    ----------
    within
        Predicted probability that the next request comes within a minute.
    gap_ms
        Time between the user's last two requests; None after the first.
    """
    gap = len(_GAPS_MS) if gap_ms is None else bisect_right(_GAPS_MS, gap_ms)
    return bisect_right(_WITHIN, within) * (len(_GAPS_MS) + 1) + gap


def stage_of(age_ms: int) -> int:
    """The stage of a silence of this age; the last stage has no end."""
    return bisect_right(EDGES_MS, age_ms) - 1


@inner
def _time(cell: Record, now_ms: int) -> float:
    """Time that all silences have spent in a cell, in ms."""
    lasting: float = max(0.0, float(cell.inside) * now_ms - cell.since)
    return lasting + float(cell.spent)


@kernel(array_of(CELL), INT, INT, INT, INT)
def _highest(cells: Records, context: int, first: int, last: int, now_ms: int) -> float:
    highest = 0.0
    for stage in range(first, last + 1):
        everyone, own = cells[_CONTEXTS * STAGES + stage], cells[context * STAGES + stage]
        rate = (everyone.asked + _PRIOR_ALL) / (_time(everyone, now_ms) + _PRIOR_MS[stage])
        highest = max(highest, (own.asked + _PRIOR) / (_time(own, now_ms) + _PRIOR / rate))
    return highest


@kernel(array_of(CELL), INT, repeated(INT, 4))
def _count(cells: Records, place: int, change: tuple[int, int, int, int]) -> None:
    """Change a cell, and that of its stage in all contexts."""
    inside, since, spent, asked = change
    for each in (place, _CONTEXTS * STAGES + place % STAGES):
        cells[each].inside += inside
        cells[each].since += since
        cells[each].spent += spent
        cells[each].asked += asked


class SilenceHazard:
    """Hazard of a user's next request: requests for each ms of silence, per stage and context.

    Idea: a piecewise exponential model. In each stage the hazard is the number of silences that
    ended there divided by the time that all spent there. Silences that still last are censored:
    they count with their time so far, so nothing is learnt from the future, and users who never
    return count too. A context's own hazard is shrunk to that of all.

    Guarantees: the posterior mean of a hazard that is constant in each stage, under a gamma prior;
    it tends to the maximum-likelihood estimate as more is seen. All numbers are whole sums, so
    users may be counted together or one by one, in any order.

    Parameters
    ----------
    cells
        `CELLS` records: requests, time spent by silences that have left (ms), silences that are
        in the stage now, and the sum of the times at which they entered it (ms).

    Examples
    --------
    >>> silence = SilenceHazard()
    >>> for start in range(0, 9_000_000, 1_000_000):  # nine silences of 5 s each
    ...     silence.enter(0, 0, 1, start)
    ...     silence.leave(0, 0, 1, start, start + 5_000, asked=1)
    >>> round(1 / silence.rate(0, 0, 9_000_000))
    5765

    References
    ----------
    Friedman (1982), Piecewise exponential models for survival data with covariates, Annals of
    Statistics 10(1).
    """

    __slots__ = ("cells",)

    def __init__(self, cells: Records | None = None) -> None:
        self.cells = np.zeros(CELLS, CELL) if cells is None else cells

    @classmethod
    def of(cls, data: bytes) -> SilenceHazard:
        """From the bytes of its cells; raises ValueError if they are damaged."""
        cells = unpacked(data, CELL)
        if len(cells) != CELLS:
            raise ValueError(f"hazards have {len(cells)} cells where {CELLS} belong")
        return cls(cells)

    def enter(self, context: int, stage: int, users: int, at_ms: int) -> None:
        """Count silences that enter a stage at this time."""
        _count(self.cells, context * STAGES + stage, (users, users * at_ms, 0, 0))

    def leave(
        self, context: int, stage: int, users: int, since_ms: int, end_ms: int, *, asked: int = 0
    ) -> None:
        """Count silences that leave a stage, by a request or by their age.

        Parameters
        ----------
        since_ms
            Sum of the times at which they entered the stage.
        end_ms
            When they leave it.
        """
        change = (-users, -since_ms, users * end_ms - since_ms, asked)
        _count(self.cells, context * STAGES + stage, change)

    def rate(self, context: int, stage: int, now_ms: int, until_ms: int = 0) -> float:
        """The hazard in a stage, in requests per ms.

        Parameters
        ----------
        until_ms
            The highest of all stages up to this age; 0 for that of the stage alone.
        """
        last = max(stage, stage_of(until_ms))
        found: float = _highest(self.cells, context, stage, last, now_ms)
        return min(MOST, found)
