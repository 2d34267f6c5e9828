"""What a prediction is made from, in the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from streams.models.arrival.phases import PHASES
from streams.models.counts import empty
from streams.models.kernels import Records, Table
from streams.models.next_request.candidates import CANDIDATE
from streams.models.next_request.mixing import FORECAST, no_weights
from streams.models.next_request.parameters import RequestParameters
from streams.models.next_request.population import PopulationState
from streams.models.next_request.predictor import Evidence
from streams.models.next_request.state_keys import (
    PARAMETERS,
    POPULATION,
    SERVICES,
    State,
    phase_keys,
    weights_key,
)
from streams.models.next_request.user_profile import UserProfile

__all__ = ["gather", "learn_parameters", "phase_rows", "room_for"]

_NO_COUNTS, _NO_WEIGHTS = empty(), no_weights()


def gather(
    state: State, profile: UserProfile, keys: Sequence[str], phase: int, decay: float
) -> Evidence:
    """The evidence of a prediction for one phase.

    Parameters
    ----------
    keys
        Of the counts of all users, see `context_keys`.
    decay
        Of a user's counts, at each visit.
    """
    population: PopulationState = state.get(POPULATION) or PopulationState()
    rows, weights = _rows(state, keys), state.get(weights_key(profile.last))
    return Evidence(
        profile.items, profile.kinds, profile.ranks, profile.weights,
        _NO_WEIGHTS if weights is None else weights,
        (population.popular, *rows[:-1], population.first, rows[-1]),
        population.learnt, len(state.get(SERVICES) or ()), phase, decay,
    )  # fmt: skip


def phase_rows(state: State, profile: UserProfile) -> tuple[Records, ...]:
    """The counts of all users in the other phases than the first, as the experts have them."""
    one, two, *_ = profile.tail
    keys = (key for phase in range(1, PHASES) for key in phase_keys(two, one, phase))
    return tuple(_rows(state, keys))


def room_for(known: int, most: int, rows: int) -> tuple[Records, Table, Records]:
    """Room for a prediction: candidates, a table of so many rows, and a forecast.

    Parameters
    ----------
    known, most
        Services; those that have a column at most.
    """
    width = min(known, most) + 2
    # Empty, since making zeros lets go of the interpreter: every waiting thread wakes up.
    return np.empty(width - 2, CANDIDATE), np.empty(rows * width), np.empty(1, FORECAST)


def learn_parameters(state: State, parameters: Mapping[str, str]) -> int:
    """The hash of the parameters of a request, once they are learnt."""
    known: RequestParameters = state.get(PARAMETERS) or RequestParameters()
    if known.learn(parameters):
        state[PARAMETERS] = known
    return known.hash_of(parameters)


def _rows(state: State, keys: Iterable[str]) -> list[Any]:
    return [_NO_COUNTS if (row := state.get(key)) is None else row for key in keys]
