"""Learning from a request and from its feedback, as machine code."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streams.models.arrival.gaps import GAP, bucket_of
from streams.models.counts import Row, grown, visit
from streams.models.kernels import (
    F4,
    F8,
    FLOAT,
    I8,
    INT,
    ROW,
    U2,
    U4,
    F4x2,
    F8x2,
    inner,
    kernel,
    rows,
)
from streams.models.next_request.backoff import Table
from streams.models.next_request.candidates import Numbers
from streams.models.next_request.experts import SHARED
from streams.models.next_request.mixing import (
    GROUPS,
    M,
    Weights,
    move,
    newton_step,
    read,
    shorten,
    written,
)
from streams.models.next_request.predictor import Facts
from streams.models.next_request.recency import FIRST, learn_returns

__all__ = ["learn", "make_room", "settle"]

_FIRST_0, _FIRST_1 = SHARED.index("first-0"), SHARED.index("first-1")
_RARE, _WIDE = (_FIRST_0, _FIRST_1), (0, _FIRST_0)
_POPULAR = 200, 256  # requests that popularity remembers, and most services
_CONTEXT = 60_000, 64  # visits and followers of a shared context that are remembered
_TOUCHED = len(SHARED) + 3  # rows of counts that a request changes: shared ones, three of gaps
_FADE = 0.9999  # of novelty, at each request


@inner
def score(
    table: Table, expected: Table, facts: Facts, column: int, last: int, note: Numbers
) -> int:
    """Fill in what to keep of a prediction until its feedback; the rank of what came."""
    rank = 0
    for member in range(M):
        note[member] = written(math.log(table[1 + member, column]) - expected[member])
    note[M] = written((column == facts[0]) - table[0, facts[0]])
    note[M + 1] = facts[1]
    for at in range(GROUPS):
        note[M + 2 + at] = facts[3 + at]
    note[M + 2 + GROUPS] = last
    for other in range(table.shape[1]):
        rank += table[0, other] > table[0, column]
    return rank


@inner
def kind_of(items: Numbers, item: int) -> int:
    """What asking for `item` is: 0 a repeat, 1 a return to another, 2 a first use."""
    for at in range(len(items) - 1, -1, -1):
        if items[at] == item:
            return 0 if at == len(items) - 1 else 1
    return FIRST


@inner
def learn_novelty(novelty: Table, new: int, first: int, item: int) -> None:
    """Count a request: whether it was new to all, and the user's first; in place."""
    for at in range(3):
        novelty[at] *= _FADE
    novelty[0] += new
    novelty[1] += first
    novelty[2] += 1.0
    novelty[3] = item + 1


@inner
def learn_kinds(kinds: Weights, kind: int, decay: float) -> None:
    """Count a request among the user's repeats, returns and first uses; in place."""
    for at in range(3):
        kinds[at] *= np.float32(decay)
    kinds[kind] += np.float32(1.0)


@inner
def count_in(row: Row, at: int, item: int, kind: int, gap_ms: int) -> bool:
    """Visit the row that stands at `at` of those touched; False when it must grow first."""
    if at >= len(SHARED):
        return gap_ms < 0 or visit(row, bucket_of(gap_ms), *GAP)
    if kind != FIRST and at in _RARE:
        return True
    if at in _WIDE:
        return visit(row, item, *_POPULAR)
    return visit(row, item, *_CONTEXT)


@kernel(ROW, INT, INT, INT)
def count_one(row: Row, at: int, item: int, gap_ms: int) -> bool:
    """Visit a row that has grown."""
    return count_in(row, at, item, FIRST, gap_ms)


@kernel(
    U2, F4, rows(_TOUCHED), U4, F8, ROW, F8x2, F8, I8, INT, INT, INT, INT, FLOAT, U2
)  # fmt: skip
def learn(
    items: Numbers,
    kinds: Weights,
    touched: tuple[Row, ...],
    tally: npt.NDArray[np.uint32],
    novelty: Table,
    seen: Numbers,
    table: Table,
    expected: Table,
    facts: Facts,
    column: int,
    item: int,
    known: int,
    gap_ms: int,
    decay: float,
    note: Numbers,
) -> tuple[int, int]:
    """Score a prediction, then take in that `item` came, `gap_ms` after the user's last.

    Changes everything in place; returns the rank of `item` and a bit for each row of
    `touched` that must grow to be visited. Without a last request `gap_ms` is below 0.
    """
    kind, rank = kind_of(items, item), 0
    if len(items):
        rank = score(table, expected, facts, column, items[-1], note)
        learn_returns(tally, facts[2], seen, column, kind, known)
        learn_kinds(kinds, kind, decay)
    learn_novelty(novelty, column == table.shape[1] - 1, kind == FIRST, item)
    full = 0
    for at in range(_TOUCHED):
        full |= (not count_in(touched[at], at, item, kind, gap_ms)) << at
    return rank, full


def make_room(touched: list[Row], full: int, item: int, gap_ms: int) -> None:
    """Let the rows of these bits grow, and visit them."""
    for at in range(_TOUCHED):
        if full >> at & 1:
            size = GAP[1] if at >= len(SHARED) else _POPULAR[1] if at in _WIDE else _CONTEXT[1]
            touched[at] = grown(touched[at], size)
            count_one(touched[at], at, item, gap_ms)


@kernel(U2, F4, F4, F4x2, F8x2, F8, FLOAT, FLOAT, FLOAT)
def settle(
    note: Numbers,
    own: Weights,
    last: Weights,
    sets: Weights,
    newton: Table,
    shifts: Table,
    step: float,
    early: float,
    correction: float,
) -> None:
    """Move weights and calibration, in place, by what a note says."""
    gradient = np.empty(M, np.float32)
    for member in range(M):
        gradient[member] = read(note[member])
    newton_step(newton, gradient)
    shorten(gradient, step)
    move(own, gradient, early)
    move(last, gradient, early)
    for at in range(GROUPS):
        move(sets[min(note[M + 2 + at], len(sets) - 1)], gradient, early)
    shifts[min(note[M + 1], len(shifts) - 1)] += correction * read(note[M])
