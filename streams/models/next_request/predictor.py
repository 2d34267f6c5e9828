"""Prediction as machine code: the experts' rows, and their mixture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.models.arrival.phases import PHASES
from streams.models.counts import ROW
from streams.models.kernels import (
    F4,
    F8,
    FLOAT,
    INT,
    U2,
    Record,
    Records,
    Table,
    inner,
    kernel,
    named,
    repeated,
)
from streams.models.logarithm import logarithms
from streams.models.next_request.backoff import (
    back_off,
    blend,
    count_recent,
    count_row,
    count_shared,
    count_user,
)
from streams.models.next_request.candidates import (
    CANDIDATES,
    Columns,
    Items,
    columns_of,
    list_candidates,
    look_back,
    suffix_matches,
)
from streams.models.next_request.experts import COUNTED, PHASED, SHARED, USER, M
from streams.models.next_request.mixing import (
    FORECASTS,
    WEIGHT_VECTORS,
    calibrate,
    choose_sets,
    expect,
    mix,
)
from streams.models.next_request.novelty import novelty_of
from streams.models.next_request.population import POPULATIONS
from streams.models.next_request.recency import cell_of, kind_masses, kind_row, recurrence_row

__all__ = ["Evidence", "predict", "predict_all"]

_OWN = M - len(COUNTED)  # experts that are no counts: the first
_FIRST_1 = COUNTED.index("first-1")
_FLOOR = 1e-7  # least probability an expert gives to anything


Phases = tuple[Records, ...]  # counts in each phase but the first, by expert


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
    phase: int  # of the silence, see `phase_of`
    decay: float  # of a user's counts, at each visit


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
    phase=INT,
    decay=FLOAT,
)
PHASE_ROWS = repeated(ROW, len(PHASED) * (PHASES - 1))


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


@inner
def fill_experts(
    evidence: Evidence, candidates: Records, room: Table, forecast: Record
) -> tuple[int, Table]:
    """Fill in the experts' rows and the sets of weights; the columns listed, and the table."""
    room[:] = 0.0
    items = evidence.items
    matches = suffix_matches(items)
    count = list_candidates(candidates, items, matches, evidence.shared, evidence.known)
    candidates, others = candidates[:count], evidence.known - count
    table = room[: (1 + M) * (count + 2)].reshape(1 + M, count + 2)
    columns = columns_of(candidates, evidence.known)
    look_back(candidates, items, columns)
    run = run_of(items)
    forecast.cell = cell_of(run, different_of(candidates))
    visits = count_contexts(table[1 + _OWN :], evidence, matches, columns, others)
    fill_recency(table, evidence, candidates, forecast.cell, others)
    for expert in range(1, 1 + M):
        for column in range(count + 2):
            table[expert, column] += _FLOOR
    choose_sets(forecast.sets, len(items), run, visits, evidence.ranks, evidence.phase)
    return count, table


@inner
def change_phase(
    evidence: Evidence, rows: Phases, candidates: Records, table: Table, phase: int
) -> None:
    """Fill in anew the rows of the experts that know of the phase."""
    new, _ = novelty_of(evidence.population[0].novelty)
    counted, others = table[1 + _OWN :], evidence.known - len(candidates)
    columns = columns_of(candidates, evidence.known)
    mass, distinct = np.zeros(len(COUNTED)), np.zeros(len(COUNTED))
    for at in range(len(PHASED)):
        expert, row = PHASED[at], rows[len(PHASED) * (phase - 1) + at]
        counted[expert, :] = 0.0
        count_row(counted, mass, distinct, expert, row, columns)
        back = back_off(counted, expert, mass[expert], distinct[expert], others, new)
        for column in range(table.shape[1]):
            counted[expert, column] += _FLOOR * (1.0 - back)  # its parents have theirs


@kernel(EVIDENCE, CANDIDATES, F8, FORECASTS)
def predict(evidence: Evidence, candidates: Records, room: Table, forecasts: Records) -> int:
    """Fill in a prediction for one phase; the number of services that have a column in it.

    Parameters
    ----------
    candidates, room, forecasts
        Filled in: services listed, mixture and experts x columns, and one forecast.
    """
    forecast, shifts = forecasts[0], evidence.population[0].shifts
    count, table = fill_experts(evidence, candidates, room, forecast)
    logs, mixed = np.empty((M, count + 2)), table[0]
    logarithms(table[1:].reshape(-1), logs.reshape(-1))
    forecast.top = mix(mixed, logs, mixture_weights(evidence, forecast.sets))
    expect(mixed, logs, forecast.expected)
    forecast.bucket = calibrate(mixed, forecast.top, shifts)
    return count


@kernel(EVIDENCE, PHASE_ROWS, F8, CANDIDATES, F8, FORECASTS)
def predict_all(
    evidence: Evidence,
    rows: Phases,
    chances: Table,
    candidates: Records,
    room: Table,
    forecasts: Records,
) -> int:
    """Fill in a prediction over all phases; the number of services that have a column in it.

    Parameters
    ----------
    evidence
        For the first phase.
    rows
        Counts of all users in the other phases, as the experts have them.
    chances
        Probability of each phase.
    candidates, room, forecasts
        Filled in: services listed; mixture over all phases and experts x columns, then the mixture
        in each phase; and one forecast, as of the last phase.
    """
    forecast, shifts = forecasts[0], evidence.population[0].shifts
    count, table = fill_experts(evidence, candidates, room, forecast)
    width = count + 2
    logs, mixed = np.empty((M, width)), table[0]
    phases = room[(1 + M) * width : (1 + M + PHASES) * width].reshape(PHASES, width)
    logarithms(table[1:].reshape(-1), logs.reshape(-1))
    for phase in range(PHASES):
        if phase:
            change_phase(evidence, rows, candidates[:count], table, phase)
            for expert in PHASED:
                logarithms(table[1 + _OWN + expert], logs[_OWN + expert])
            forecast.sets[-1] += 1
        given = phases[phase]
        forecast.top = mix(given, logs, mixture_weights(evidence, forecast.sets))
        forecast.bucket = calibrate(given, forecast.top, shifts)
        for column in range(width):
            mixed[column] += chances[phase] * given[column]
    return count
