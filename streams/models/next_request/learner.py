"""Learning from a request as machine code: the outcome of its prediction, and its counts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.models.arrival.gaps import GAP, bucket_of
from streams.models.counts import ROW, grown, visit
from streams.models.drift import DETECTORS, drifts
from streams.models.kernels import (
    F4,
    F8,
    FLOAT,
    INT,
    U2,
    F8x2,
    Records,
    Table,
    inner,
    kernel,
    named,
    repeated,
)
from streams.models.next_request.candidates import CANDIDATES, Items
from streams.models.next_request.experts import SHARED
from streams.models.next_request.mixing import FORECASTS, WEIGHT_VECTORS
from streams.models.next_request.novelty import learn_novelty
from streams.models.next_request.population import POPULATIONS
from streams.models.next_request.recency import FIRST_USE, kind_of, learn_kinds, learn_recency
from streams.models.next_request.score_tally import tally_score
from streams.models.next_request.weight_update import RATES, update

__all__ = ["Learnt", "learn", "make_room"]

_FIRST_0, _FIRST_1 = SHARED.index("first-0"), SHARED.index("first-1")
_RARE, _WIDE = (_FIRST_0, _FIRST_1), (0, _FIRST_0)
_POPULAR = 200, 256  # requests that popularity remembers, and most services
_CONTEXT = 60_000, 64  # visits and followers of a shared context that are remembered
_MOST_NATS = 3.0  # of log-loss that the drift detector tells apart
_TOUCHED = len(SHARED) + 3  # rows of counts that a request changes: shared ones, three of gaps


class Learnt(NamedTuple):
    """What learns from a request, and the prediction that was made of it."""

    items: Items  # the user's requests, oldest first
    kinds: npt.NDArray[np.float32]  # of the user's requests, decayed
    rows: tuple[Records, ...]  # shared counts in the experts' contexts, then gaps
    population: Records
    candidates: Records
    table: Table  # mixture and experts x columns
    forecast: Records
    user: Records  # weights of the user
    service: Records  # weights after the last service
    drift: Records  # of the user's log-loss
    rates: Records  # lengths of the steps of the weights
    tally: npt.NDArray[np.float64]  # of the scores, for who watches


@inner
def rank_of(mixed: Table, column: int) -> int:
    """How many columns were more probable than this one."""
    rank = 0
    for other in range(len(mixed)):
        rank += mixed[other] > mixed[column]
    return rank


@inner
def score(learnt: Learnt, column: int) -> int:
    """Move the weights by what the prediction gave to the service that came.

    Returns for how many requests the user's log-loss has been larger; 0 if it is not.
    """
    table, forecast, population = learnt.table, learnt.forecast[0], learnt.population[0]
    user, service = learnt.user[0], learnt.service[0]
    tally_score(learnt.tally, table, column, forecast.top)
    update(table, forecast, column, user, service, population, learnt.rates[0])
    return drifts(learnt.drift[0], min(-math.log(table[0, column]) / _MOST_NATS, 1.0))


@inner
def count_in(row: Records, at: int, item: int, kind: int, gap_ms: int) -> bool:
    """Visit the row that stands at `at` of those touched; False when it must grow first."""
    if at >= len(SHARED):
        return gap_ms < 0 or visit(row, bucket_of(gap_ms), *GAP)
    if kind != FIRST_USE and at in _RARE:
        return True
    if at in _WIDE:
        return visit(row, item, *_POPULAR)
    return visit(row, item, *_CONTEXT)


@kernel(ROW, INT, INT, INT)
def count_one(row: Records, at: int, item: int, gap_ms: int) -> bool:
    """Visit a row that has grown."""
    return count_in(row, at, item, FIRST_USE, gap_ms)


@kernel(
    named(
        Learnt,
        items=U2,
        kinds=F4,
        rows=repeated(ROW, _TOUCHED),
        population=POPULATIONS,
        candidates=CANDIDATES,
        table=F8x2,
        forecast=FORECASTS,
        user=WEIGHT_VECTORS,
        service=WEIGHT_VECTORS,
        drift=DETECTORS,
        rates=RATES,
        tally=F8,
    ),
    INT,
    INT,
    INT,
    INT,
    FLOAT,
)
def learn(
    learnt: Learnt, item: int, column: int, gap_ms: int, known: int, decay: float
) -> tuple[int, int, int]:
    """Score a prediction, then take in the request that came.

    Changes everything in place; returns the rank of `item`, a bit for each row that must grow to
    be visited, and for how many requests the user has been predicted worse than before.

    Parameters
    ----------
    learnt
        What learns, and the prediction.
    item, column
        Number of the service that came, and its column in the prediction.
    gap_ms
        Since the user's last request; below 0 without one.
    known
        Services, this one among them.
    decay
        Of the user's kinds of requests.
    """
    items, population, forecast = learnt.items, learnt.population[0], learnt.forecast[0]
    kind, rank, drifted = kind_of(items, item), 0, 0
    if len(items):
        drifted = score(learnt, column)
        rank = rank_of(learnt.table[0], column)
        learn_recency(population.recency, forecast.cell, learnt.candidates, column, kind, known)
        learn_kinds(learnt.kinds, kind, decay)
    new = column == learnt.table.shape[1] - 1
    learn_novelty(population.novelty, new, kind == FIRST_USE)
    full = 0
    for at in range(_TOUCHED):
        row = learnt.rows[at]
        full |= (not count_in(row, at, item, kind, gap_ms)) << at
    return rank, full, drifted


def make_room(rows: list[Records], full: int, item: int, gap_ms: int) -> None:
    """Let the rows of these bits grow, and visit them."""
    for at in range(_TOUCHED):
        if full >> at & 1:
            size = GAP[1] if at >= len(SHARED) else _POPULAR[1] if at in _WIDE else _CONTEXT[1]
            rows[at] = grown(rows[at], size)
            count_one(rows[at], at, item, gap_ms)
