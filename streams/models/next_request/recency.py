"""Experts by recency: how users come back to services, by age and number of requests alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.models.kernels import Record, Records, Table, inner, record
from streams.models.next_request.candidates import Items

__all__ = [
    "FIRST_USE", "KINDS", "RECENCY", "cell_of", "kind_masses", "kind_of", "kind_row",
    "learn_kinds", "learn_recency", "recurrence_row",
]  # fmt: skip

REPEAT, RETURN, FIRST_USE = 0, 1, 2  # kinds of requests: for the last service, an earlier, a new
KINDS = 3
_STATES = 1 + 3 * 7  # of a service for a user: never used, or by age and number of requests
_AGES = np.array((0, 0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6))
_OFTEN = np.array((0, 0, 1, 1, 2))
_RUNS, _SEEN = 8, 8
# Of all users: by state of a service how often it was asked for and how often it could have been;
# and the kinds of requests, by run of repeats and number of services.
RECENCY = record(
    hits=(np.uint32, (_STATES,)),
    chances=(np.uint32, (_STATES,)),
    kinds=(np.uint32, (_RUNS * _SEEN, KINDS)),
)
_WINDOW = 20_000  # requests after which what was counted by state is halved
_CELL = 2_000  # and by run of repeats and number of services
_OWN = 4.0  # requests of a user's own that weigh as much as those of all


class KindMasses(NamedTuple):
    """How much speaks for each kind of request."""

    repeat: float
    back: float
    first_use: float


@inner
def state_of(age: int, requests: int) -> int:
    """State of a service its user asked for `requests` times, the last `age` requests ago."""
    return 1 + 3 * _AGES[min(age, 17)] + _OFTEN[min(requests, 4)] if requests else 0


@inner
def cell_of(run: int, different: int) -> int:
    """Where the kinds after such a run of repeats, by a user of so many services, are counted."""
    return min(run, _RUNS - 1) * _SEEN + min(different, _SEEN - 1)


@inner
def kind_of(items: Items, item: int) -> int:
    """The kind of a request for `item` after this history."""
    for at in range(len(items) - 1, -1, -1):
        if items[at] == item:
            return REPEAT if at == len(items) - 1 else RETURN
    return FIRST_USE


@inner
def recurrence_row(
    row: Table, recency: Record, candidates: Records, others: int, new: float
) -> Table:
    """Fill in an expert's probabilities; the hazards, by column.

    Idea: what a user asks for next depends on how long ago and how often they asked for each
    service, whichever it is.

    References
    ----------
    Ryabko (1980), Data compression by means of a "book stack", Problems of Information
    Transmission 16(4): a symbol's probability by how recently it was used.
    """
    columns, hits, chances = len(candidates), recency.hits, recency.chances
    hazards = np.empty(columns + 1)
    whole = 0.0
    for column in range(columns + 1):
        state = 0
        if column < columns:
            state = state_of(candidates[column].age, candidates[column].requests)
        hazards[column] = (hits[state] + 0.2) / (chances[state] + 4.0)
        whole += hazards[column] * (1 if column < columns else others)
    scale = (1.0 - new) / max(whole, 1e-300)
    for column in range(columns):
        row[column] = hazards[column] * scale
    row[columns] = hazards[columns] * scale * others
    row[columns + 1] = new
    return hazards


@inner
def kind_masses(everyone: npt.NDArray[np.uint32], own: npt.NDArray[np.float32]) -> KindMasses:
    """A user's own kinds of requests, and those of all in the same cell as a prior."""
    prior = _OWN / (everyone[REPEAT] + everyone[RETURN] + everyone[FIRST_USE] + 0.75)
    return KindMasses(
        own[REPEAT] + (everyone[REPEAT] + 0.25) * prior,
        own[RETURN] + (everyone[RETURN] + 0.25) * prior,
        own[FIRST_USE] + (everyone[FIRST_USE] + 0.25) * prior,
    )


@inner
def kind_row(
    row: Table, masses: KindMasses, candidates: Records, hazards: Table, first: Table, new: float
) -> None:
    """Fill in an expert's probabilities: first whether it is a repeat, a return or a first use.

    Parameters
    ----------
    row
        Filled in, by column.
    masses
        How much speaks for each kind.
    candidates, hazards
        By column: returns are shared out by hazards.
    first
        Probabilities by column that first uses are shared out by.
    new
        Probability that a first use is of a service new to all.
    """
    columns = len(candidates)
    back, fresh = 0.0, 1.0 - first[columns + 1]
    for column in range(columns):
        if candidates[column].requests:
            fresh -= first[column]
            back += hazards[column] if candidates[column].age != 1 else 0.0
    whole = masses.repeat + masses.first_use + (masses.back if back else 0.0)
    share = masses.first_use * (1.0 - new) / (whole * max(fresh, 1e-9))
    for column in range(columns + 1):
        if column == columns or candidates[column].requests == 0:
            row[column] = first[column] * share
        elif candidates[column].age == 1:
            row[column] = masses.repeat / whole
        else:
            row[column] = hazards[column] * masses.back / (whole * back)
    row[columns + 1] = masses.first_use * new / whole


@inner
def learn_kinds(kinds: npt.NDArray[np.float32], kind: int, decay: float) -> None:
    """Count a request among the user's kinds; in place."""
    for at in range(KINDS):
        kinds[at] *= np.float32(decay)
    kinds[kind] += np.float32(1.0)


@inner
def learn_recency(
    recency: Record, cell: int, candidates: Records, column: int, kind: int, known: int
) -> None:
    """Count that the service of `column`, of all `known`, came; its kind as well."""
    hits, chances = recency.hits, recency.chances
    columns, different = len(candidates), 0
    for candidate in candidates:
        if candidate.requests:
            different += 1
            chances[state_of(candidate.age, candidate.requests)] += 1
    chances[0] += known - different
    state = 0
    if column < columns:
        state = state_of(candidates[column].age, candidates[column].requests)
    hits[state] += 1
    if hits.sum() > _WINDOW:
        for at in range(_STATES):
            hits[at] >>= 1
            chances[at] >>= 1
    kinds = recency.kinds[cell]
    kinds[kind] += 1
    if kinds.sum() > _CELL:
        for at in range(KINDS):
            kinds[at] >>= 1
