"""Experts made of counts: each blends the counts of its context with those of shorter ones."""

from __future__ import annotations

import numpy as np

from streams.models.kernels import Records, Table, inner
from streams.models.next_request.candidates import Columns, Items, column_of
from streams.models.next_request.experts import ORDERS, PARENTS, SHARED, USER

__all__ = ["back_off", "blend", "count_recent", "count_row", "count_shared", "count_user"]

_RECENT = USER - 1
_SHARED = len(SHARED)
_FADE, _LONG = 0.8, 16  # of "recent": what a request weighs after another one, and how far back


@inner
def count_shared(
    table: Table, mass: Table, distinct: Table, shared: tuple[Records, ...], columns: Columns
) -> None:
    """Fill in what all users asked for in the contexts of the first experts."""
    for expert in range(_SHARED):
        count_row(table, mass, distinct, expert, shared[expert], columns)


@inner
def count_row(
    table: Table, mass: Table, distinct: Table, expert: int, row: Records, columns: Columns
) -> None:
    """Fill in what all users asked for in the context of one expert."""
    for at in range(len(row)):
        count = row[at].count
        if count == 0:
            break
        table[expert, column_of(columns, row[at].key)] += count
        mass[expert] += count
        distinct[expert] += 1.0


@inner
def count_user(
    table: Table,
    mass: Table,
    distinct: Table,
    items: Items,
    matches: Records,
    columns: Columns,
    decay: float,
) -> Items:
    """Fill in what followed the user's own contexts, later visits first; visits by order.

    A visit multiplies all earlier counts of its context by the decay.
    """
    visits, weights = np.zeros(len(ORDERS), np.uint16), np.ones(len(ORDERS))
    weight, whole = 1.0, 0.0
    for at in range(len(items) - 1, -1, -1):
        column = column_of(columns, items[at])
        if table[USER, column] == 0.0:
            distinct[USER] += 1.0
        table[USER, column] += weight
        whole += weight
        weight *= decay
    mass[USER], visits[0] = whole, len(items)
    for match in matches:
        column = column_of(columns, items[match.at])
        for index in range(1, len(ORDERS)):
            if match.length < ORDERS[index]:
                break
            if table[USER + index, column] == 0.0:
                distinct[USER + index] += 1.0
            table[USER + index, column] += weights[index]
            mass[USER + index] += weights[index]
            weights[index] *= decay
            visits[index] += 1
    return visits


@inner
def count_recent(
    table: Table, mass: Table, distinct: Table, items: Items, columns: Columns
) -> None:
    """Fill in the last requests, whatever came before them."""
    weight = 1.0
    for at in range(len(items) - 1, max(len(items) - _LONG, 0) - 1, -1):
        column = column_of(columns, items[at])
        if table[_RECENT, column] == 0.0:
            distinct[_RECENT] += 1.0
        table[_RECENT, column] += weight
        mass[_RECENT] += weight
        weight *= _FADE


@inner
def blend(table: Table, mass: Table, distinct: Table, others: int, new: float) -> None:
    """Turn counts into probabilities: each expert backs off to its parents.

    The number of different followers is the weight of what an expert backs off to.

    Parameters
    ----------
    table
        Counts by expert and column; changed in place.
    mass, distinct
        By expert: sum of its counts, number of services counted.
    others
        Services known that have no column of their own.
    new
        Probability that the next service is new to all.

    References
    ----------
    Witten & Bell (1991), The zero-frequency problem, IEEE Trans. Information Theory 37(4),
    method C.
    """
    for expert in range(len(table)):
        back_off(table, expert, mass[expert], distinct[expert], others, new)


@inner
def back_off(
    table: Table, expert: int, mass: float, distinct: float, others: int, new: float
) -> float:
    """Turn the counts of one expert into probabilities, see `blend`; its parents' weight in them."""
    width, (first, second) = table.shape[1], PARENTS[expert]
    known, different = width - 2 + others, max(distinct, 1.0)
    scale = 1.0 / (mass + different)
    back = different * scale
    if first >= 0:
        for column in range(width):
            behind = 0.5 * (table[first, column] + table[second, column])
            table[expert, column] = table[expert, column] * scale + back * behind
        return back
    floor = back * (1.0 - new) / max(known, 1)
    for column in range(width - 2):
        table[expert, column] = table[expert, column] * scale + floor
    table[expert, width - 2] = table[expert, width - 2] * scale + floor * others
    table[expert, width - 1] = back * new if known else 1.0
    return back
