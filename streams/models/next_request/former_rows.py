"""Rows of the state as releases with other experts wrote them; new ones begin without weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from streams.models.arrival.phases import PHASES
from streams.models.kernels import Records, record
from streams.models.next_request.experts import EXPERTS
from streams.models.next_request.joined import joint_of
from streams.models.next_request.mixing import SETS, WEIGHTS
from streams.models.next_request.network_expert import NetworkState
from streams.models.next_request.novelty import NOVELTY
from streams.models.next_request.population import CAUTION, PopulationState, population_of
from streams.models.next_request.user_profile import UserProfile
from streams.models.state_bytes import Array, StateReader

__all__ = ["FORMER"]

_HEIR = {"stream": "global-1"}  # experts that are no more, each to the one that predicts the same
_PHASED = ("phase-1", "phase-2")
_AT = EXPERTS.index("pace") + 1
_VERSION_4 = (*EXPERTS[:_AT], "stream", *EXPERTS[_AT:])
_VERSION_3 = tuple(expert for expert in _VERSION_4 if expert not in _PHASED)
_NOVELTY = record(new=np.float64, first_uses=np.float64, requests=np.float64, latest=np.float64)


class FormerRows:
    """Reads the rows of a release.

    Parameters
    ----------
    experts
        That it had, in order.
    sets
        How many sets of weights it had: the first of those that there are now.
    """

    def __init__(self, experts: Sequence[str], sets: int) -> None:
        self._sets = sets
        self._weights_form = record(experts=(np.float32, (len(experts),)), steps=np.float32)
        self._population_form = population_of(len(experts), self._weights_form, sets, _NOVELTY)
        heirs = [_HEIR.get(expert, expert) for expert in experts]
        self._at = np.array([[heir == expert for expert in EXPERTS] for heir in heirs], float)

    def readers(self) -> Mapping[int, Callable[[StateReader], Any]]:
        """By kind: the reader of a row that has another form now."""
        return {
            1: lambda data: UserProfile.read_former(data, self._weights),
            2: self._population,
            5: self._weights,
            7: self._network,
            8: lambda data: UserProfile.read(data, self._weights),
            10: lambda data: UserProfile.read_without_trail(data, self._weights),
        }

    def _by_expert(self, values: Array) -> Array:
        """Values by expert, those of experts that are no more added to their heirs'."""
        found: Array = values @ self._at
        return found

    def _widened(self, former: Records) -> Records:
        """Vectors of weights."""
        weights = np.zeros(former.shape, WEIGHTS)
        weights["experts"] = self._by_expert(former["experts"])
        weights["steps"] = former["steps"]
        return weights

    def _weights(self, data: StateReader) -> Records:
        return self._widened(data.array_like(np.zeros(1, self._weights_form)))

    def _population(self, data: StateReader) -> PopulationState:
        row = PopulationState.read(data, np.zeros(1, self._population_form))
        former, row.learnt = row.learnt[0], PopulationState().learnt
        learnt, newton = row.learnt[0], row.learnt["newton"][0]
        for name in ("shifts", "recency"):
            learnt[name] = former[name]
        for name in NOVELTY.names or ():
            learnt["novelty"][name] = former["novelty"][name]
        learnt["sets"][: self._sets] = self._widened(former["sets"])
        newton["weights"] = self._by_expert(former["newton"]["weights"])
        newton["inverse"] = self._at.T @ former["newton"]["inverse"] @ self._at
        for at in np.flatnonzero(self._at.sum(axis=0) == 0.0):
            newton["inverse"][at, at] = 1.0 / CAUTION
        return row

    def _network(self, data: StateReader) -> NetworkState:
        row = NetworkState.read(data, np.zeros(1, joint_of(self._sets)))
        former, row.joint = row.joint[0], NetworkState().joint
        for name in ("everywhere", "shifts"):
            row.joint[name] = former[name]
        row.joint["sets"][0, : self._sets] = former["sets"]
        return row


# By version, then by kind. 3 had no sets by phase, which are the last.
FORMER: Mapping[int, Mapping[int, Callable[[StateReader], Any]]] = {
    3: FormerRows(_VERSION_3, SETS - PHASES).readers(),
    4: FormerRows(_VERSION_4, SETS).readers(),
}
