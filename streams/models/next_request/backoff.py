"""Counts of a context, blended with those of shorter ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.counts import Row
from streams.models.kernels import inner
from streams.models.next_request.candidates import Echoes, Numbers, Places, column_of
from streams.models.next_request.experts import ORDERS, PARENTS, SHARED, USER

__all__ = ["blend", "count_recent", "count_shared", "count_user", "look_back"]

Table = npt.NDArray[np.float64]  # members x (services listed, all others, the unseen)

_RECENT = USER - 1
_SHARED = len(SHARED)
_FADE, _LONG = 0.8, 16  # of "recent": what a request weighs after another one, and how far back


@inner
def count_shared(table: Table, mass: Table, shared: tuple[Row, ...], places: Places) -> None:
    """Fill in what all users asked for in the contexts of the first members."""
    for member in range(_SHARED):
        row = shared[member]
        for at in range(len(row)):
            count = row[at, 1]
            if count == 0:
                break
            table[member, column_of(places, row[at, 0])] += count
            mass[member, 0] += count
            mass[member, 1] += 1.0


@inner
def count_user(
    table: Table, mass: Table, items: Numbers, alike: Echoes, places: Places, decay: float
) -> Numbers:
    """Fill in what followed the user's own contexts, later visits first; visits by order.

    A visit multiplies all earlier counts of its context by the decay.
    """
    visits, weights = np.zeros(len(ORDERS), np.uint16), np.ones(len(ORDERS))
    weight, whole = 1.0, 0.0
    for at in range(len(items) - 1, -1, -1):
        column = column_of(places, items[at])
        if table[USER, column] == 0.0:
            mass[USER, 1] += 1.0
        table[USER, column] += weight
        whole += weight
        weight *= decay
    mass[USER, 0], visits[0] = whole, len(items)
    for echo in range(len(alike)):
        column = column_of(places, items[alike[echo, 0]])
        for index in range(1, len(ORDERS)):
            if alike[echo, 1] < ORDERS[index]:
                break
            if table[USER + index, column] == 0.0:
                mass[USER + index, 1] += 1.0
            table[USER + index, column] += weights[index]
            mass[USER + index, 0] += weights[index]
            weights[index] *= decay
            visits[index] += 1
    return visits


@inner
def count_recent(table: Table, mass: Table, items: Numbers, places: Places) -> None:
    """Fill in the last requests, whatever came before them."""
    weight = 1.0
    for at in range(len(items) - 1, max(len(items) - _LONG, 0) - 1, -1):
        column = column_of(places, items[at])
        if table[_RECENT, column] == 0.0:
            mass[_RECENT, 1] += 1.0
        table[_RECENT, column] += weight
        mass[_RECENT, 0] += weight
        weight *= _FADE


@inner
def look_back(chosen: Numbers, items: Numbers, places: Places) -> None:
    """Fill in, by column, how many requests ago the last was (0: never), and their number."""
    columns = len(chosen)
    for column in range(columns):
        chosen[column, 1] = chosen[column, 2] = 0
    for at in range(len(items) - 1, -1, -1):
        column = column_of(places, items[at])
        if column < columns:
            if chosen[column, 2] == 0:
                chosen[column, 1] = len(items) - at
            chosen[column, 2] += 1


@inner
def blend(table: Table, mass: Table, others: int, new: float) -> None:
    """Turn counts into probabilities: each member backs off to its parents.

    The number of different followers is the weight of what a member backs off to.

    Parameters
    ----------
    table
        Counts by member and column; changed in place.
    mass
        By member: sum of its counts, number of services counted.
    others
        Services known that have no column of their own.
    new
        Probability that the next service is new to all.

    References
    ----------
    Witten & Bell (1991), The zero-frequency problem, IEEE Trans. Information Theory 37(4),
    method C.
    """
    width = table.shape[1]
    known = width - 2 + others
    for member in range(len(table)):
        first, second = PARENTS[member]
        whole, different = mass[member, 0], max(mass[member, 1], 1.0)
        scale = 1.0 / (whole + different)
        back = different * scale
        if first >= 0:
            for column in range(width):
                behind = 0.5 * (table[first, column] + table[second, column])
                table[member, column] = table[member, column] * scale + back * behind
            continue
        floor = back * (1.0 - new) / max(known, 1)
        for column in range(width - 2):
            table[member, column] = table[member, column] * scale + floor
        table[member, width - 2] = table[member, width - 2] * scale + floor * others
        table[member, width - 1] = back * new if known else 1.0
