"""Rows of the state as releases without `PHASED` experts wrote them; those begin without weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from streams.models.arrival.phases import PHASES
from streams.models.kernels import Records, record
from streams.models.next_request.experts import EXPERTS, PHASED, M
from streams.models.next_request.joined import joint_of
from streams.models.next_request.mixing import SETS, WEIGHTS
from streams.models.next_request.network_expert import NetworkState
from streams.models.next_request.population import CAUTION, PopulationState, population_of
from streams.models.next_request.user_profile import UserProfile
from streams.models.state_bytes import Array, StateReader

__all__ = ["FORMER"]

_EXPERTS, _SETS = M - len(PHASED), SETS - PHASES  # the sets of the phases are the last
_AT = EXPERTS.index("phase-1")
_WEIGHTS = record(experts=(np.float32, (_EXPERTS,)), steps=np.float32)
_POPULATION = population_of(_EXPERTS, _WEIGHTS, _SETS)


def _with_phased(values: Array, axis: int = -1) -> Array:
    """Values by expert, with nothing for those that know of the phase."""
    return np.insert(values, [_AT] * len(PHASED), 0.0, axis=axis)


def _widened(former: Records) -> Records:
    """Vectors of weights."""
    weights = np.zeros(former.shape, WEIGHTS)
    weights["experts"], weights["steps"] = _with_phased(former["experts"]), former["steps"]
    return weights


def _weights(data: StateReader) -> Records:
    return _widened(data.array_like(np.zeros(1, _WEIGHTS)))


def _population(data: StateReader) -> PopulationState:
    row = PopulationState.read(data, np.zeros(1, _POPULATION))
    former, row.learnt = row.learnt[0], PopulationState().learnt
    learnt, newton = row.learnt[0], row.learnt["newton"][0]
    for name in ("novelty", "shifts", "recency"):
        learnt[name] = former[name]
    learnt["sets"][:_SETS] = _widened(former["sets"])
    newton["weights"] = _with_phased(former["newton"]["weights"])
    newton["inverse"] = _with_phased(_with_phased(former["newton"]["inverse"]), axis=0)
    for at in range(_AT, _AT + len(PHASED)):
        newton["inverse"][at, at] = 1.0 / CAUTION
    return row


def _network(data: StateReader) -> NetworkState:
    row = NetworkState.read(data, np.zeros(1, joint_of(_SETS)))
    former, row.joint = row.joint[0], NetworkState().joint
    for name in ("everywhere", "shifts"):
        row.joint[name] = former[name]
    row.joint["sets"][0, :_SETS] = former["sets"]
    return row


# By kind: the reader of a row that has another form now.
FORMER: Mapping[int, Callable[[StateReader], Any]] = {
    1: lambda data: UserProfile.read_former(data, _weights),
    2: _population,
    5: _weights,
    7: _network,
    8: lambda data: UserProfile.read(data, _weights),
    10: lambda data: UserProfile.read_without_trail(data, _weights),
}
