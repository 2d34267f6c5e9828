"""What every member of the mixture says: one row of probabilities each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.models.counts import Counts
from streams.models.history import History

__all__ = ["MEMBERS", "SHARED_ORDERS", "STATES", "Columns", "Evidence", "Matrix", "Row", "state_of"]

Matrix = npt.NDArray[np.float64]
Row = npt.NDArray[np.float64]

SHARED_ORDERS = (1, 2, 3, 5)
# member -> the members it backs off to, in equal parts
_PARENTS: Mapping[str, tuple[str, ...]] = {
    "popular": (),
    "global-1": ("popular",),
    "global-2": ("global-1",),
    "global-3": ("global-2",),
    "global-5": ("global-3",),
    "pace": ("global-2",),
    "stream": ("global-1",),
    "recent": ("popular",),
    "user-0": ("popular",),
    "user-1": ("user-0", "global-1"),
    "user-2": ("user-1", "global-2"),
    "user-3": ("user-2", "global-3"),
    "user-5": ("user-3", "global-5"),
    "first": ("popular",),  # what others used first after the same service; part of "kind"
}
_COUNTED = tuple(_PARENTS)
MEMBERS = ("recurrence", "kind", *_COUNTED[:-1])
_SHARES = np.array([[1.0 / len(p) if c in p else 0.0 for c in _COUNTED] for p in _PARENTS.values()])
_FIRST_USER = _COUNTED.index("user-0")
_SHARED = (*range(_COUNTED.index("recent")), len(_COUNTED) - 1)
_RECENT = _COUNTED.index("recent")
_FLOOR = 1e-7  # least probability a member gives to anything
_ESCAPE = 0.5  # weight of what a context backs off to, for each different follower
_RECENCY = [0.8**age for age in range(16)]
_RECENCY_SUMS = [sum(_RECENCY[:n]) for n in range(17)]
_AGES = [0, 0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6]
STATES = 1 + 3 * 7  # of a service for a user: never used, or by age and number of requests


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each service stands in a row; after them all others together, then the unseen."""

    of: Mapping[int, int]  # service number -> column
    others: int  # services known that have no column of their own


class Evidence:
    """The members' rows for one user.

    Idea: a member is the counts of one context, blended with shorter ones (Witten & Bell: the
    number of different followers is the weight of what it backs off to). Row i is
    ``b[i] S[i] + a[i] sum_j Q[i, j] row j`` with Q strictly lower triangular, so all rows
    together are one short product: (I + X)(I + X^2)(I + X^4) inverts I - X when X^8 = 0.
    The first two rows say how users come back: *recurrence* by age and number of earlier
    requests alone, *kind* first whether it is a repeat, a return or a first use.

    Guarantees: every row sums to 1 and gives nothing less than 1e-7.

    Parameters
    ----------
    columns
        Where each service stands.
    history
        The user's requests; at least one.
    shared
        Counts of all users for the first members, None where the context is new.
    recurrence
        Requests and chances, 2 x `STATES`, by state of a service for its user.
    kinds
        Probability of a repeat, a return and a first use.
    novelty
        Probability that the next service is new to all, and that a first use is.

    References
    ----------
    Witten & Bell (1991), The zero-frequency problem, IEEE Trans. Information Theory 37(4),
    method C. Ryabko (1980), Data compression by means of a "book stack": ages of services.
    """

    __slots__ = ("_all", "columns", "rows", "states")

    def __init__(
        self,
        columns: Columns,
        history: History,
        shared: Sequence[Counts | None],
        *,
        recurrence: npt.NDArray[np.float32],
        kinds: Sequence[float],
        novelty: tuple[float, float],
    ) -> None:
        self.columns = columns
        width = len(columns.of) + 2
        self._all = np.zeros((len(MEMBERS) + 1, width))
        self._count(history, shared, novelty[0])
        self.states = self._states(history)
        if history.items:
            self._come_back(history, recurrence, kinds, novelty)
        else:
            self._all[:2] = self._all[2 + _FIRST_USER]
        self.rows = np.maximum(self._all[:-1], _FLOOR)

    def _count(self, history: History, shared: Sequence[Counts | None], new: float) -> None:
        rows = self._all[2:]
        different, totals = [1.0] * len(_COUNTED), [0.0] * len(_COUNTED)
        flat = rows.reshape(-1).data
        of, width, others = self.columns.of.get, rows.shape[1], rows.shape[1] - 2
        for index, counts in zip(_SHARED, shared, strict=True):
            if counts is not None and counts.total:
                different[index], totals[index] = len(counts.values), counts.total
                start = index * width
                for item, count in counts.values.items():
                    flat[start + of(item, others)] += count
        for index, followers in enumerate(history.contexts(), _FIRST_USER):
            step, start = followers.step, index * width
            different[index], totals[index] = len(followers.counts), followers.total / step
            for item, grown in followers.counts.items():
                flat[start + of(item, others)] += grown / step
        recent = history.items[: -len(_RECENCY) - 1 : -1]
        start = _RECENT * width
        for item, weight in zip(recent, _RECENCY, strict=False):
            flat[start + of(item, others)] += weight
        different[_RECENT] = len(set(recent)) or 1
        totals[_RECENT] = _RECENCY_SUMS[len(recent)]
        self._blend(rows, np.array(different), np.array(totals), new)

    def _blend(self, rows: Matrix, different: Row, totals: Row, new: float) -> None:
        escape = _ESCAPE * different
        scale = 1.0 / (totals + escape)
        back = escape * scale
        rows *= scale[:, None]
        known = len(self.columns.of) + self.columns.others
        floor = back[0] * (1.0 - new) / max(known, 1)
        rows[0] += floor
        rows[0, -2] += floor * (self.columns.others - 1)
        rows[0, -1] = back[0] * new if known else 1.0
        step = back[:, None] * _SHARES
        for _ in range(2):
            rows += step.dot(rows)
            step = step.dot(step)
        rows += step.dot(rows)

    def _states(self, history: History) -> npt.NDArray[np.intp]:
        states = np.zeros(len(self.columns.of), np.intp)
        of, now = self.columns.of.get, len(history.items)
        for item, packed in history.seen.items():
            column = of(item)
            if column is not None:
                states[column] = state_of(now - (packed >> 16), packed & 0xFFFF)
        return states

    def _come_back(
        self,
        history: History,
        recurrence: npt.NDArray[np.float32],
        kinds: Sequence[float],
        novelty: tuple[float, float],
    ) -> None:
        plain, kind, first = self._all[0], self._all[1], self._all[-1]
        known = len(self.states)
        hazard = (recurrence[0] + 0.2) / (recurrence[1] + 4.0)
        back = hazard[self.states].astype(np.float64)
        plain[:known] = back
        plain[known] = self.columns.others * hazard[0]
        plain *= (1.0 - novelty[0]) / plain.sum()
        plain[-1] = novelty[0]
        used = self.states > 0
        last = self.columns.of[history.items[-1]]
        kind[:known] = np.where(used, 0.0, first[:known])
        kind[known] = first[known]
        back *= used
        back[last] = 0.0
        fresh, others = kind.sum(), back.sum()
        chances = [kinds[0], kinds[1] if others else 0.0, kinds[2]]
        whole = sum(chances)
        kind *= chances[2] * (1.0 - novelty[1]) / (whole * fresh) if fresh else 0.0
        if others:
            kind[:known] += back * (chances[1] / (whole * others))
        kind[last] = chances[0] / whole
        kind[-1] = chances[2] * novelty[1] / whole


def state_of(age: int, requests: int) -> int:
    """State of a service its user asked for `requests` times, the last `age` requests ago."""
    old = min(age, 17)
    often = 0 if requests == 1 else 1 if requests < 4 else 2
    return 1 + 3 * _AGES[old] + often
