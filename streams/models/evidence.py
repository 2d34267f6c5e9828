"""What every member of the mixture says: one row of probabilities each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.models.counts import Counts
from streams.models.history import History
from streams.models.returns import Returns, state_of

__all__ = ["MEMBERS", "PRIOR", "SHARED_ORDERS", "Columns", "Evidence", "Matrix", "Row"]

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
    # what others used first of late, and after the same service: parts of "kind"
    "first-0": ("popular",),
    "first-1": ("first-0",),
}
_COUNTED = tuple(_PARENTS)
# What the weights come to on average over the first 30 % of three traces: where all users start.
PRIOR: Mapping[str, float] = {
    "recurrence": 0.12,
    "kind": 0.1,
    "popular": 0.05,
    "global-1": 0.03,
    "global-2": 0.02,
    "global-3": 0.03,
    "global-5": 0.1,
    "pace": 0.1,
    "stream": 0.1,
    "recent": 0.03,
    "user-0": 0.05,
    "user-1": 0.05,
    "user-2": 0.04,
    "user-3": 0.04,
    "user-5": 0.1,
}
MEMBERS = ("recurrence", "kind", *_COUNTED[:-2])
_SHARES = np.array([[1.0 / len(p) if c in p else 0.0 for c in _COUNTED] for p in _PARENTS.values()])
_FIRST_USER = _COUNTED.index("user-0")
_SHARED = (*range(_COUNTED.index("recent")), len(_COUNTED) - 2, len(_COUNTED) - 1)
_RECENT = _COUNTED.index("recent")
_FLOOR = 1e-7  # least probability a member gives to anything
_RECENCY = [0.8**age for age in range(16)]
_RECENCY_SUMS = [sum(_RECENCY[:n]) for n in range(17)]


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
    returns
        How users come back to services.
    novelty
        Probability that the next service is new to all, and that a first use is.

    References
    ----------
    Witten & Bell (1991), The zero-frequency problem, IEEE Trans. Information Theory 37(4),
    method C. Ryabko (1980), Data compression by means of a "book stack": ages of services.
    """

    __slots__ = ("_all", "columns", "rows")

    def __init__(
        self,
        columns: Columns,
        history: History,
        shared: Sequence[Counts | None],
        *,
        returns: Returns,
        novelty: tuple[float, float],
    ) -> None:
        self.columns = columns
        width = len(columns.of) + 2
        self._all = np.zeros((len(MEMBERS) + 2, width))
        self._count(history, shared, novelty[0])
        if history.items:
            self._come_back(history, returns, *novelty)
        else:
            self._all[:2] = self._all[2 + _FIRST_USER]
        self._all += _FLOOR
        self.rows = self._all[:-2]

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
        scale = 1.0 / (totals + different)
        back = different * scale
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

    def _come_back(self, history: History, returns: Returns, new: float, new_first: float) -> None:
        plain, kind, first = self._all[0], self._all[1], self._all[-1]
        of, now, others = self.columns.of.get, len(history.items), self.columns.others
        hazards = returns.hazards()
        used: list[tuple[int, float]] = []
        for item, packed in history.seen.items():
            column = of(item)
            if column is not None:
                used.append((column, hazards[state_of(now - (packed >> 16), packed & 0xFFFF)]))
        never = hazards[0]
        total = never * (len(self.columns.of) + others - len(used)) + sum(h for _, h in used)
        scale = (1.0 - new) / total
        plain.fill(never * scale)
        plain[-2:] = never * scale * others, new
        last = self.columns.of[history.items[-1]]
        known = first.data
        fresh = 1.0 - known[-1] - sum(known[column] for column, _ in used)
        back = sum(h for column, h in used if column != last)
        repeat, again, trial = returns.kinds_of(history)
        whole = repeat + trial + (again if back else 0.0)
        np.multiply(first, trial * (1.0 - new_first) / (whole * max(fresh, 1e-9)), out=kind)
        here, there = plain.data, kind.data
        for column, hazard in used:
            here[column] = hazard * scale
            there[column] = hazard * again / (whole * back) if back else 0.0
        there[last] = repeat / whole
        there[len(there) - 1] = trial * new_first / whole
