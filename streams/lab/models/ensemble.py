"""The mixture and the recurrent network together, with weights learnt online.

Only `foremesh evaluate` and River's interface run it. A worker would write the network at every
save: weights, moments and ring are one value of up to 1 MB.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from streams.lab.models.network import EXPERTS, PoolWeights
from streams.lab.models.recurrent import Recurrent, RecurrentConfig
from streams.models.kernels import F8, I8, INT, F4x2, F8x2, inner, kernel
from streams.models.logarithm import logarithms
from streams.models.next_request.backoff import Table
from streams.models.next_request.mixing import Weights, calibrate
from streams.models.next_request.mixture import Mixture, View
from streams.models.next_request.population import State
from streams.models.next_request.predictor import Facts
from streams.models.next_request.vocabulary import MOST

__all__ = ["NAMES", "ROWS", "Opinion", "Pool"]

NAMES = ("mixture+rnn", "rnn")
ROWS = (0, 2)  # of an opinion's table, where these are
_WEIGHTS = "\x00pool"
_STEP, _EARLY = 0.0005, 5.0  # of the weights; how much longer the first steps are
_CORRECTION = 0.02  # step of the calibration
_LEAST = 1e-12


class Opinion(NamedTuple):
    """A prediction of both together, and how it came about."""

    table: Table  # both, mixture, network x columns of the view: probabilities
    expected: Table  # mean log-probability of mixture and network under both
    facts: Facts  # top column, its bucket, sets of weights


class Pool:
    """Predict by the mixture and the recurrent network at once.

    Idea: the product of both, each to the power of a weight that is learnt by gradient steps of
    the log-loss, in sets chosen by the contexts that choose the mixture's own; then the odds of
    the most probable are corrected, as the mixture's are.

    Guarantees: log-loss is convex in the weights, which start at the mixture alone: regret
    O(sqrt(T)) against it.

    Parameters
    ----------
    mixture
        Whose views are taken in.
    config
        Parameters of the network.

    References
    ----------
    Mattern (2012), Mixing strategies in data compression, DCC.
    """

    def __init__(self, mixture: Mixture, config: RecurrentConfig | None = None) -> None:
        self.mixture = mixture
        self.network = Recurrent(config)

    def predict(self, state: State, user: str, view: View) -> Opinion:
        """What both together say where the mixture says `view`."""
        known = len(self.mixture.vocabulary(state))
        weights = _weights(state)
        table = np.empty((1 + EXPERTS, len(view.seen) + 2))
        table[1] = view.table[0]
        table[2] = self.network.predict(state, user, view.seen, known)
        expected, facts = np.empty(EXPERTS), view.facts.copy()
        together(table, weights.sets, weights.shifts, facts, expected)
        return Opinion(table, expected, facts)

    def learn(
        self,
        state: State,
        user: str,
        service: str,
        at_ms: int,
        view: View,
        opinion: Opinion | None = None,
    ) -> None:
        """Score both predictions for `user` on the service that came, then take it in.

        Before the mixture learns it. `opinion` is that prediction when it was just made.
        """
        profile, names = self.mixture.profile(state, user), self.mixture.vocabulary(state)
        item = names.find(service)
        gap_ms = max(at_ms - profile.last_ms, 0) if len(profile) else -1
        if gap_ms >= 0:
            opinion = opinion or self.predict(state, user, view)
            weights = _weights(state)
            settle(
                opinion.table, weights.sets, weights.shifts, opinion.facts, opinion.expected,
                view.column(item),
            )  # fmt: skip
            state[_WEIGHTS] = weights
        number = min(len(names), MOST - 1) if item is None else item
        self.network.learn(state, user, number, new=item is None, gap_ms=gap_ms)


@kernel(F8x2, F4x2, F8, I8, F8)
def together(table: Table, sets: Weights, shifts: Table, facts: Facts, expected: Table) -> None:
    """Fill in the product of the experts, row 0 of the table, their means, and the facts."""
    width, mixed = table.shape[1], table[0]
    weights = np.empty(EXPERTS)
    for expert in range(EXPERTS):
        weights[expert] = sets[0, expert]
        for at in facts[3:]:
            weights[expert] += sets[1 + at, expert]
    logs = np.empty((EXPERTS, width))
    logarithms((table[1:] + _LEAST).reshape(-1), logs.reshape(-1))
    top, whole = 0, 0.0
    for column in range(width):
        mixed[column] = 0.0
        for expert in range(EXPERTS):
            mixed[column] += weights[expert] * logs[expert, column]
        if mixed[column] > mixed[top]:
            top = column
    highest = mixed[top]
    for column in range(width):
        mixed[column] = math.exp(mixed[column] - highest)
        whole += mixed[column]
    expected[:] = 0.0
    for column in range(width):
        mixed[column] /= whole
        for expert in range(EXPERTS):
            expected[expert] += mixed[column] * logs[expert, column]
    facts[0], facts[1] = top, calibrate(mixed, top, shifts)


@inner
def _move(weights: Weights, slopes: Table) -> None:
    steps = weights[EXPERTS] + np.float32(1.0)
    step = _STEP * (1.0 + _EARLY / math.sqrt(steps))
    for expert in range(EXPERTS):
        weights[expert] += step * slopes[expert]
    weights[EXPERTS] = min(steps, np.float32(1e6))


@kernel(F8x2, F4x2, F8, I8, F8, INT)
def settle(
    table: Table, sets: Weights, shifts: Table, facts: Facts, expected: Table, column: int
) -> None:
    """Move weights and calibration, in place, by the column that came."""
    slopes = np.empty(EXPERTS)
    for expert in range(EXPERTS):
        slopes[expert] = math.log(table[1 + expert, column] + _LEAST) - expected[expert]
    _move(sets[0], slopes)
    for at in facts[3:]:
        _move(sets[1 + at], slopes)
    shifts[facts[1]] += _CORRECTION * ((column == facts[0]) - table[0, facts[0]])


def _weights(state: State) -> PoolWeights:
    found: PoolWeights | None = state.get(_WEIGHTS)
    return PoolWeights() if found is None else found
