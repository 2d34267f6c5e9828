"""Prediction as machine code: the experts' rows, and their mixture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.models.counts import ROW
from streams.models.kernels import (
    F4,
    F8,
    FLOAT,
    INT,
    U2,
    Records,
    Table,
    inner,
    kernel,
    named,
    repeated,
)
from streams.models.next_request.backoff import blend, count_recent, count_shared, count_user
from streams.models.next_request.candidates import (
    CANDIDATES,
    Columns,
    Items,
    columns_of,
    list_candidates,
    look_back,
    suffix_matches,
)
from streams.models.next_request.experts import COUNTED, SHARED, USER, M
from streams.models.next_request.joined import Joined
from streams.models.next_request.mixing import FORECASTS, WEIGHT_VECTORS, choose_sets, mix
from streams.models.next_request.novelty import novelty_of
from streams.models.next_request.population import POPULATIONS
from streams.models.next_request.recency import cell_of, kind_masses, kind_row, recurrence_row

__all__ = ["Evidence", "MixturePrediction", "predict"]

_OWN = M - len(COUNTED)  # experts that are no counts: the first
_FIRST_1 = COUNTED.index("first-1")
_FLOOR = 1e-7  # least probability an expert gives to anything


class Evidence(NamedTuple):
    """What a prediction is made from."""

    items: Items  # the user's requests, oldest first
    kinds: npt.NDArray[np.float32]  # of the user's requests, decayed
    ranks: int  # of the last two realised services
    user: Records  # weights of the user
    service: Records  # weights after the last service
    shared: tuple[Records, ...]  # counts of all users in the experts' contexts
    population: Records
    known: int  # services
    decay: float  # of a user's counts, at each visit


class MixturePrediction(NamedTuple):
    """One prediction and how it came about."""

    candidates: Records  # by column: service, age and requests
    table: Table  # mixture and experts x (services, all others, the unseen): probabilities
    forecast: Records  # one: what is learnt from the outcome
    others: int  # services known that have no column
    keys: list[str]  # rows of counts used
    shared: tuple[Records, ...]  # those counts
    joined: Joined | None = None  # with the recurrent network, where it runs

    @property
    def chances(self) -> Table:
        """The probability of each column, as it is published."""
        row: Table = self.table[0] if self.joined is None else self.joined.table[0]
        return row

    def column(self, item: int | None) -> int:
        """The column of a service: its own, that of all others, or that of the unseen."""
        listed = len(self.candidates)
        if item is None:
            return listed + 1
        if not self.others:
            return item
        columns = np.flatnonzero(self.candidates["service"] == item)
        return int(columns[0]) if len(columns) else listed


EVIDENCE = named(
    Evidence,
    items=U2,
    kinds=F4,
    ranks=INT,
    user=WEIGHT_VECTORS,
    service=WEIGHT_VECTORS,
    shared=repeated(ROW, len(SHARED)),
    population=POPULATIONS,
    known=INT,
    decay=FLOAT,
)


@inner
def run_of(items: Items) -> int:
    """Length of the run of repeats that the history ends with."""
    at = len(items) - 1
    while at > 0 and items[at - 1] == items[-1]:
        at -= 1
    return len(items) - at if len(items) else 0


@inner
def different_of(candidates: Records) -> int:
    """How many of the candidates the user ever asked for."""
    different = 0
    for candidate in candidates:
        different += candidate.requests > 0
    return different


@inner
def count_contexts(
    counted: Table, evidence: Evidence, matches: Records, columns: Columns, others: int
) -> Items:
    """Fill in the rows of the experts made of counts; visits of the user's contexts by order."""
    mass, distinct = np.zeros(len(COUNTED)), np.zeros(len(COUNTED))
    new, _ = novelty_of(evidence.population[0].novelty)
    count_shared(counted, mass, distinct, evidence.shared, columns)
    count_recent(counted, mass, distinct, evidence.items, columns)
    visits = count_user(counted, mass, distinct, evidence.items, matches, columns, evidence.decay)
    blend(counted, mass, distinct, others, new)
    return visits


@inner
def fill_recency(
    table: Table, evidence: Evidence, candidates: Records, cell: int, others: int
) -> None:
    """Fill in the rows of the experts by recency; those by counts stand below."""
    population, counted = evidence.population[0], table[1 + _OWN :]
    new, new_first = novelty_of(population.novelty)
    if len(evidence.items):
        hazards = recurrence_row(table[1], population.recency, candidates, others, new)
        masses = kind_masses(population.recency.kinds[cell], evidence.kinds)
        kind_row(table[2], masses, candidates, hazards, counted[_FIRST_1], new_first)
    else:
        for column in range(table.shape[1]):
            table[1, column] = table[2, column] = counted[USER, column]


@inner
def mixture_weights(evidence: Evidence, sets: npt.NDArray[np.int64]) -> Table:
    """The experts' weights: those for all, the user's, and those of the context."""
    population, weights = evidence.population[0], np.empty(M)
    everyone = population.newton.weights
    user, service = evidence.user[0].experts, evidence.service[0].experts
    for expert in range(M):
        weights[expert] = everyone[expert] + user[expert] + service[expert]
        for at in sets:
            weights[expert] += population.sets[at].experts[expert]
    return weights


@kernel(EVIDENCE, CANDIDATES, F8, FORECASTS)
def predict(evidence: Evidence, candidates: Records, room: Table, forecasts: Records) -> int:
    """Fill in a prediction; the number of services that have a column in it.

    Parameters
    ----------
    candidates, room, forecasts
        Filled in: services listed, mixture and experts x columns, and one forecast.
    """
    room[:] = 0.0
    items, forecast = evidence.items, forecasts[0]
    matches = suffix_matches(items)
    count = list_candidates(candidates, items, matches, evidence.shared, evidence.known)
    candidates, others = candidates[:count], evidence.known - count
    table = room[: (1 + M) * (count + 2)].reshape(1 + M, count + 2)
    columns = columns_of(candidates, evidence.known)
    look_back(candidates, items, columns)
    run = run_of(items)
    cell = cell_of(run, different_of(candidates))
    visits = count_contexts(table[1 + _OWN :], evidence, matches, columns, others)
    fill_recency(table, evidence, candidates, cell, others)
    for expert in range(1, 1 + M):
        for column in range(count + 2):
            table[expert, column] += _FLOOR
    choose_sets(forecast.sets, len(items), run, visits, evidence.ranks)
    mix(table, mixture_weights(evidence, forecast.sets), evidence.population[0].shifts, forecast)
    forecast.cell = cell
    return count
