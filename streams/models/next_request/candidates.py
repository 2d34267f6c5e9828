"""Which services have a probability of their own in one vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.counts import Row
from streams.models.kernels import inner
from streams.models.next_request.experts import ORDERS, SHARED

__all__ = ["Echoes", "Numbers", "Places", "column_of", "echoes", "listed", "placed"]

Numbers = npt.NDArray[np.uint16]
Places = npt.NDArray[np.int16]
Echoes = npt.NDArray[np.int16]


@inner
def echoes(items: Numbers) -> Echoes:
    """Where the history came by its end before, latest first.

    Returns
    -------
    array of shape (echoes, 2)
        Where a request stands that followed the last service, and how many in a row before it
        were the same as the last ones; at most 5.
    """
    found, count = np.empty((len(items), 2), np.int16), 0
    length = len(items)
    for at in range(length - 1, 0, -1):
        if items[at - 1] == items[length - 1]:
            same, longest = 1, min(at, ORDERS[-1])
            while same < longest and items[at - 1 - same] == items[length - 1 - same]:
                same += 1
            found[count, 0], found[count, 1] = at, same
            count += 1
    return found[:count]


@inner
def listed(
    found: Numbers, items: Numbers, alike: Echoes, shared: tuple[Row, ...], known: int
) -> int:
    """Fill in all services where they are few; else those with evidence, most specific first.

    Returns
    -------
    int
        How many there are.
    """
    if known <= len(found):
        for item in range(known):
            found[item, 0] = item
        return known
    taken = np.zeros(known + 1, np.bool_)
    taken[known] = True
    count = _add_own(items, alike, found, taken)
    for member in range(len(SHARED) - 1, -1, -1):
        row = shared[member]
        for at in range(len(row)):
            if row[at, 1]:
                count = _add(row[at, 0], found, taken, count)
    return count


@inner
def _add_own(items: Numbers, alike: Echoes, found: Numbers, taken: npt.NDArray[np.bool_]) -> int:
    count = 0
    if len(items):
        count = _add(items[-1], found, taken, count)
    for order in ORDERS[:0:-1]:
        for echo in range(len(alike)):
            if alike[echo, 1] >= order:
                count = _add(items[alike[echo, 0]], found, taken, count)
    for at in range(len(items) - 1, -1, -1):
        count = _add(items[at], found, taken, count)
    return count


@inner
def _add(number: int, found: Numbers, taken: npt.NDArray[np.bool_], count: int) -> int:
    item = min(number, len(taken) - 1)
    if count == len(found) or taken[item]:
        return count
    found[count, 0] = item
    taken[item] = True
    return count + 1


@inner
def placed(chosen: Numbers, known: int) -> Places:
    """The column of each service; after those chosen, one for all others."""
    places = np.empty(known + 1, np.int16)
    for item in range(known + 1):
        places[item] = len(chosen)
    for column in range(len(chosen)):
        places[chosen[column, 0]] = column
    return places


@inner
def column_of(places: Places, item: int) -> int:
    """The column of a service; what no vocabulary holds is among all others."""
    return int(places[min(item, len(places) - 1)])
