"""Which services have a probability of their own in a prediction, and in which column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Records, array_of, inner, record
from streams.models.next_request.experts import ORDERS, SHARED

__all__ = [
    "CANDIDATE",
    "CANDIDATES",
    "Columns",
    "Items",
    "column_of",
    "columns_of",
    "list_candidates",
    "look_back",
    "suffix_matches",
]

Items = npt.NDArray[np.uint16]  # numbers of services
Columns = npt.NDArray[np.int16]  # by service

# By column: a service, how many requests ago its user last asked for it (0: never), and how often.
CANDIDATE = record(service=np.uint16, age=np.uint16, requests=np.uint16)
CANDIDATES = array_of(CANDIDATE)
# A place in the history before which the same services came as before its end, and how many.
_SUFFIX_MATCH = record(at=np.int16, length=np.int16)


@inner
def suffix_matches(items: Items) -> Records:
    """Where the history stood as it stands now, latest first.

    Returns
    -------
    records of `at` and `length`
        Index of a request that followed the last service, and how many services in a row before
        it were the same as the last ones; at most 5.
    """
    matches, count = np.empty(len(items), _SUFFIX_MATCH), 0
    length = len(items)
    for at in range(length - 1, 0, -1):
        if items[at - 1] == items[length - 1]:
            same, longest = 1, min(at, ORDERS[-1])
            while same < longest and items[at - 1 - same] == items[length - 1 - same]:
                same += 1
            matches[count].at, matches[count].length = at, same
            count += 1
    return matches[:count]


@inner
def list_candidates(
    candidates: Records, items: Items, matches: Records, shared: tuple[Records, ...], known: int
) -> int:
    """Fill in all services where they are few; else those with evidence, most specific first.

    Returns
    -------
    int
        How many there are.
    """
    if known <= len(candidates):
        for item in range(known):
            candidates[item].service = item
        return known
    taken = np.zeros(known + 1, np.bool_)
    taken[known] = True
    count = _add_own(items, matches, candidates, taken)
    for expert in range(len(SHARED) - 1, -1, -1):
        row = shared[expert]
        for at in range(len(row)):
            if row[at].count:
                count = _add(row[at].key, candidates, taken, count)
    return count


@inner
def _add_own(
    items: Items, matches: Records, candidates: Records, taken: npt.NDArray[np.bool_]
) -> int:
    count = 0
    if len(items):
        count = _add(items[-1], candidates, taken, count)
    for order in ORDERS[:0:-1]:
        for match in matches:
            if match.length >= order:
                count = _add(items[match.at], candidates, taken, count)
    for at in range(len(items) - 1, -1, -1):
        count = _add(items[at], candidates, taken, count)
    return count


@inner
def _add(number: int, candidates: Records, taken: npt.NDArray[np.bool_], count: int) -> int:
    item = min(number, len(taken) - 1)
    if count == len(candidates) or taken[item]:
        return count
    candidates[count].service = item
    taken[item] = True
    return count + 1


@inner
def columns_of(candidates: Records, known: int) -> Columns:
    """The column of each service; after the candidates, one for all others."""
    columns = np.empty(known + 1, np.int16)
    for item in range(known + 1):
        columns[item] = len(candidates)
    for column in range(len(candidates)):
        columns[candidates[column].service] = column
    return columns


@inner
def column_of(columns: Columns, item: int) -> int:
    """The column of a service; what no vocabulary holds is among all others."""
    return int(columns[min(item, len(columns) - 1)])


@inner
def look_back(candidates: Records, items: Items, columns: Columns) -> None:
    """Fill in the age and the requests of each candidate."""
    for column in range(len(candidates)):
        candidates[column].age = candidates[column].requests = 0
    for at in range(len(items) - 1, -1, -1):
        column = column_of(columns, items[at])
        if column < len(candidates):
            if candidates[column].requests == 0:
                candidates[column].age = len(items) - at
            candidates[column].requests += 1
