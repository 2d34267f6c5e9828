"""How users come back to services: by age and number of requests alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.models.kernels import inner
from streams.models.next_request.backoff import Table
from streams.models.next_request.candidates import Numbers

__all__ = ["CELLS", "FIRST", "cell_of", "kind_row", "learn_returns", "recurrence_row"]

Tally = npt.NDArray[np.uint32]  # hits by state, chances by state, kinds by cell

STATES = 1 + 3 * 7  # of a service for a user: never used, or by age and number of requests
FIRST = 2  # the kind of a request for a service that the user never asked for
_AGES = np.array((0, 0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6))
_OFTEN = np.array((0, 0, 1, 1, 2))
_RUNS, _SEEN, _KINDS = 8, 8, 3
CELLS = 2 * STATES + _RUNS * _SEEN * _KINDS
_WINDOW = 20_000  # requests after which what was counted by state is halved
_CELL = 2_000  # and by run of repeats and number of services
_OWN = 4.0  # requests of a user's own that weigh as much as those of all


@inner
def state_of(age: int, requests: int) -> int:
    """State of a service its user asked for `requests` times, the last `age` requests ago."""
    return 1 + 3 * _AGES[min(age, 17)] + _OFTEN[min(requests, 4)] if requests else 0


@inner
def cell_of(run: int, different: int) -> int:
    """Where the kinds after such a run of repeats, by a user of so many services, are counted."""
    return 2 * STATES + (min(run, _RUNS - 1) * _SEEN + min(different, _SEEN - 1)) * _KINDS


@inner
def recurrence_row(row: Table, tally: Tally, seen: Numbers, others: int, new: float) -> Table:
    """Fill in a member's probabilities; the hazards, by column.

    Idea: what a user asks for next depends on how long ago and how often they asked for each
    service, whichever it is.

    References
    ----------
    Ryabko (1980), Data compression by means of a "book stack", Problems of Information
    Transmission 16(4): a symbol's probability by how recently it was used.
    """
    columns = len(seen)
    hazards = np.empty(columns + 1)
    whole = 0.0
    for column in range(columns + 1):
        state = state_of(seen[column, 1], seen[column, 2]) if column < columns else 0
        hazards[column] = (tally[state] + 0.2) / (tally[STATES + state] + 4.0)
        whole += hazards[column] * (1 if column < columns else others)
    scale = (1.0 - new) / max(whole, 1e-300)
    for column in range(columns):
        row[column] = hazards[column] * scale
    row[columns] = hazards[columns] * scale * others
    row[columns + 1] = new
    return hazards


@inner
def kind_row(
    row: Table,
    tally: Tally,
    cell: int,
    own: npt.NDArray[np.float32],
    seen: Numbers,
    hazards: Table,
    first: Table,
    new: float,
) -> None:
    """Fill in a member's probabilities: first whether it is a repeat, a return or a first use.

    Parameters
    ----------
    row
        Filled in, by column.
    tally, cell
        Kinds of all users, and where those in the same run are.
    own
        The user's own kinds, decayed.
    seen, hazards
        Service, age and requests, and the hazard, by column: returns are shared out by hazards.
    first
        Probabilities by column that first uses are shared out by.
    new
        Probability that a first use is of a service new to all.
    """
    columns = len(seen)
    prior = _OWN / (tally[cell] + tally[cell + 1] + tally[cell + 2] + 0.75)
    repeat = own[0] + (tally[cell] + 0.25) * prior
    again = own[1] + (tally[cell + 1] + 0.25) * prior
    trial = own[2] + (tally[cell + 2] + 0.25) * prior
    back, fresh = 0.0, 1.0 - first[columns + 1]
    for column in range(columns):
        if seen[column, 2]:
            fresh -= first[column]
            back += hazards[column] if seen[column, 1] != 1 else 0.0
    whole = repeat + trial + (again if back else 0.0)
    share = trial * (1.0 - new) / (whole * max(fresh, 1e-9))
    for column in range(columns + 1):
        if column == columns or seen[column, 2] == 0:
            row[column] = first[column] * share
        elif seen[column, 1] == 1:
            row[column] = repeat / whole
        else:
            row[column] = hazards[column] * again / (whole * back)
    row[columns + 1] = trial * new / whole


@inner
def learn_returns(
    tally: Tally, cell: int, seen: Numbers, column: int, kind: int, services: int
) -> None:
    """Count that the service of `column`, of so many `services`, came; its kind as well."""
    columns, different = len(seen), 0
    for at in range(columns):
        if seen[at, 2]:
            different += 1
            tally[STATES + state_of(seen[at, 1], seen[at, 2])] += 1
    tally[STATES] += services - different
    state = state_of(seen[column, 1], seen[column, 2]) if column < columns else 0
    tally[state] += 1
    hits = 0
    for at in range(STATES):
        hits += tally[at]
    if hits > _WINDOW:
        for at in range(2 * STATES):
            tally[at] >>= 1
    tally[cell + kind] += 1
    if tally[cell] + tally[cell + 1] + tally[cell + 2] > _CELL:
        for at in range(cell, cell + _KINDS):
            tally[at] >>= 1
