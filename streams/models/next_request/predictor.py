"""Prediction as machine code, made of the single models."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.counts import Row
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
from streams.models.next_request.backoff import (
    Table,
    blend,
    count_recent,
    count_shared,
    count_user,
    look_back,
)
from streams.models.next_request.candidates import Echoes, Numbers, Places, echoes, listed, placed
from streams.models.next_request.experts import COUNTED, SHARED, USER
from streams.models.next_request.mixing import GROUPS, M, Weights, choose_sets, mix
from streams.models.next_request.recency import cell_of, kind_row, recurrence_row

__all__ = ["FACTS", "Facts", "predict"]

Facts = npt.NDArray[np.int64]

_OWN = M - len(COUNTED)  # members that are no counts: the first
_FIRST_1 = COUNTED.index("first-1")
FACTS = 3 + GROUPS  # top column, its bucket, cell of the kinds, sets of weights
_FLOOR = 1e-7  # least probability a member gives to anything


@inner
def novelty_of(novelty: Table) -> tuple[float, float]:
    """Probability that the next service is new to all, and that a first use is."""
    return (
        min(novelty[0] / novelty[2], 0.5),
        min(novelty[0] / max(novelty[1], 1.0), 0.9),
    )


@inner
def run_of(items: Numbers) -> int:
    """Length of the run of repeats that the history ends with."""
    at = len(items) - 1
    while at > 0 and items[at - 1] == items[-1]:
        at -= 1
    return len(items) - at if len(items) else 0


@inner
def fill(
    table: Table,
    items: Numbers,
    alike: Echoes,
    places: Places,
    seen: Numbers,
    shared: tuple[Row, ...],
    kinds: Weights,
    tally: npt.NDArray[np.uint32],
    novelty: Table,
    cell: int,
    others: int,
    decay: float,
) -> Numbers:
    """Every member's row, and visits of the user's contexts by order."""
    new, new_first = novelty_of(novelty)
    counted, mass = table[1 + _OWN :], np.zeros((len(COUNTED), 2))
    count_shared(counted, mass, shared, places)
    count_recent(counted, mass, items, places)
    visits = count_user(counted, mass, items, alike, places, decay)
    blend(counted, mass, others, new)
    if len(items):
        hazards = recurrence_row(table[1], tally, seen, others, new)
        first = counted[_FIRST_1]
        kind_row(table[2], tally, cell, kinds, seen, hazards, first, new_first)
    else:
        for column in range(table.shape[1]):
            table[1, column] = table[2, column] = counted[USER, column]
    for member in range(1, len(table)):
        for column in range(table.shape[1]):
            table[member, column] += _FLOOR
    return visits


@inner
def add_weights(
    weights: Table, newton: Table, own: Weights, last: Weights, sets: Weights, chosen: Facts
) -> None:
    """Fill in the members' weights: those for all, the user's, and those of the context."""
    for member in range(M):
        weights[member] = newton[0, member] + own[member] + last[member]
        for at in chosen:
            weights[member] += sets[at, member]


@kernel(
    U2, F4, rows(len(SHARED)), U4, F8, F4, F4, F4x2, F8x2, F8, INT, INT, FLOAT,
    ROW, F8, F8, I8,
)  # fmt: skip
def predict(
    items: Numbers,
    kinds: Weights,
    shared: tuple[Row, ...],
    tally: npt.NDArray[np.uint32],
    novelty: Table,
    own: Weights,
    last: Weights,
    sets: Weights,
    newton: Table,
    shifts: Table,
    ranks: int,
    known: int,
    decay: float,
    chosen: Numbers,
    room: Table,
    expected: Table,
    facts: Facts,
) -> int:
    """Fill in a prediction; the number of services that have a column in it.

    Parameters
    ----------
    chosen, room, expected, facts
        Filled in: services listed, with age and requests of each, mixture and members x
        columns, the members' mean log-probabilities, and facts.
    """
    room[:] = 0.0
    alike = echoes(items)
    columns = listed(chosen, items, alike, shared, known)
    chosen = chosen[:columns]
    table = room[: (1 + M) * (columns + 2)].reshape(1 + M, columns + 2)
    places = placed(chosen, known)
    look_back(chosen, items, places)
    different, run = 0, run_of(items)
    for column in range(columns):
        different += chosen[column, 2] > 0
    cell = cell_of(run, different)
    visits = fill(
        table, items, alike, places, chosen, shared, kinds, tally, novelty, cell, known - columns, decay
    )  # fmt: skip
    choose_sets(facts[3:], len(items), run, visits, ranks)
    weights = np.empty(M)
    add_weights(weights, newton, own, last, sets, facts[3:])
    facts[0], facts[1] = mix(table, weights, shifts, expected)
    facts[2] = cell
    return columns
