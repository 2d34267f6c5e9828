"""The mixture and the recurrent network together, with weights learnt online.

Only `foremesh evaluate` and River's interface run it. A worker would write the network at every
checkpoint: weights, moments and ring are one value of up to 1 MB.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np

from streams.lab.models.recurrent import RecurrentConfig, RecurrentModel
from streams.models.kernels import (
    INT,
    F8x2,
    Record,
    Records,
    Table,
    array_of,
    inner,
    kernel,
    record,
)
from streams.models.logarithm import logarithms
from streams.models.next_request.mixing import BUCKETS, GROUPS, SETS, calibrate
from streams.models.next_request.mixture import NextRequestMixture
from streams.models.next_request.predictor import MixturePrediction
from streams.models.next_request.state_keys import State
from streams.models.next_request.vocabulary import MOST
from streams.models.state_bytes import StateReader, StateWriter

__all__ = ["NAMES", "ROWS", "EnsemblePrediction", "EnsembleWeights", "ModelEnsemble"]

NAMES = ("mixture+rnn", "rnn")
ROWS = (0, 2)  # of a prediction's table, in the order of `NAMES`
_KEY = "\x00pool"
_STEP, _EARLY = 0.0005, 5.0  # learning rate of the weights; how much larger the first steps are
_CORRECTION = 0.02  # learning rate of the calibration
_LEAST = 1e-12
_EXPERTS = 2  # the mixture, the network

_WEIGHTS = record(experts=(np.float32, (_EXPERTS,)), steps=np.float32)  # and updates so far
_LEARNT = record(
    weights=record(everywhere=_WEIGHTS, sets=(_WEIGHTS, (SETS,))),
    shifts=(np.float64, (BUCKETS,)),  # of the log-odds of the top probability
)
_LEARNTS = array_of(_LEARNT)
# What an update needs of a prediction, as in the mixture.
_FORECAST = record(
    expected=(np.float64, (_EXPERTS,)),
    top=np.int64,
    bucket=np.int64,
    sets=(np.int64, (GROUPS,)),
)
_FORECASTS = array_of(_FORECAST)


class EnsembleWeights:
    """Weights of the two experts, mixture and network: one set for all contexts, and by context."""

    __slots__ = ("learnt",)

    def __init__(self) -> None:
        self.learnt = np.zeros(1, _LEARNT)
        # At first the prediction is that of the mixture alone.
        self.learnt["weights"]["everywhere"]["experts"][0, 0] = 1.0

    def write(self, out: StateWriter) -> None:
        """Append these weights."""
        for part in ("weights", "shifts"):
            out.array(self.learnt[part])

    @classmethod
    def read(cls, data: StateReader) -> Self:
        """The weights that `write` appended."""
        weights = cls()
        for part in ("weights", "shifts"):
            weights.learnt[part] = data.array_like(weights.learnt[part])
        return weights


class EnsemblePrediction(NamedTuple):
    """A prediction of the ensemble, and what its update needs."""

    table: Table  # ensemble, mixture, network x columns of the mixture's: probabilities
    forecast: Records  # one row, for the update


class ModelEnsemble:
    """Predict by the mixture and the recurrent network together.

    Idea: the product of both predictions, each to the power of a weight. The weights are learnt
    by gradient steps on the log-loss, in sets chosen by the contexts that choose the mixture's
    own; then the odds of the most probable service are calibrated, as in the mixture.

    Guarantees: log-loss is convex in the weights, which start at the mixture alone: regret
    O(sqrt(T)) against it.

    Parameters
    ----------
    mixture
        The first of the two experts.
    config
        Parameters of the network.

    References
    ----------
    Mattern (2012), Mixing strategies in data compression, DCC.
    """

    def __init__(self, mixture: NextRequestMixture, config: RecurrentConfig | None = None) -> None:
        self.mixture = mixture
        self.network = RecurrentModel(config)

    def predict(self, state: State, user: str, alone: MixturePrediction) -> EnsemblePrediction:
        """The prediction of both together, given that of the mixture alone."""
        known = len(self.mixture.vocabulary(state))
        table = np.empty((1 + _EXPERTS, len(alone.candidates) + 2))
        table[1] = alone.table[0]
        table[2] = self.network.predict(state, user, alone.candidates, known)
        forecast = np.zeros(1, _FORECAST)
        forecast["sets"] = alone.forecast["sets"]
        together(table, _weights(state).learnt, forecast)
        return EnsemblePrediction(table, forecast)

    def learn(
        self,
        state: State,
        user: str,
        service: str,
        at_ms: int,
        alone: MixturePrediction,
        prediction: EnsemblePrediction | None = None,
    ) -> None:
        """Update the weights with the requested service, then let the network learn it.

        This is called before the mixture learns it. `prediction` is the ensemble's, if it was
        just made.
        """
        profile, names = self.mixture.profile(state, user), self.mixture.vocabulary(state)
        item = names.find(service)
        gap_ms = max(at_ms - profile.last_ms, 0) if len(profile) else -1
        if gap_ms >= 0:
            prediction = prediction or self.predict(state, user, alone)
            weights = _weights(state)
            update(prediction.table, weights.learnt, prediction.forecast, alone.column(item))
            state[_KEY] = weights
        number = min(len(names), MOST - 1) if item is None else item
        self.network.learn(state, user, number, new=item is None, gap_ms=gap_ms)


@inner
def _weights_of(weights: Record, forecast: Record) -> Table:
    """The experts' weights: the sum of those for all and those of the contexts."""
    total = np.empty(_EXPERTS)
    for expert in range(_EXPERTS):
        total[expert] = weights.everywhere.experts[expert]
        for at in forecast.sets:
            total[expert] += weights.sets[at].experts[expert]
    return total


@kernel(F8x2, _LEARNTS, _FORECASTS)
def together(table: Table, learnt: Records, forecasts: Records) -> None:
    """Fill in the product of the experts, row 0 of the table, and the forecast but its sets."""
    width, mixed, forecast = table.shape[1], table[0], forecasts[0]
    weights, expected = _weights_of(learnt[0].weights, forecast), forecast.expected
    logs = np.empty((_EXPERTS, width))
    logarithms((table[1:] + _LEAST).reshape(-1), logs.reshape(-1))
    top, whole = 0, 0.0
    for column in range(width):
        mixed[column] = 0.0
        for expert in range(_EXPERTS):
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
        for expert in range(_EXPERTS):
            expected[expert] += mixed[column] * logs[expert, column]
    forecast.top, forecast.bucket = top, calibrate(mixed, top, learnt[0].shifts)


@inner
def _move(weights: Record, gradient: Table) -> None:
    experts, steps = weights.experts, weights.steps + np.float32(1.0)
    step = _STEP * (1.0 + _EARLY / math.sqrt(steps))
    for expert in range(_EXPERTS):
        experts[expert] += step * gradient[expert]
    weights.steps = min(steps, np.float32(1e6))


@kernel(F8x2, _LEARNTS, _FORECASTS, INT)
def update(table: Table, learnt: Records, forecasts: Records, column: int) -> None:
    """Update weights and calibration, in place, with the column of the requested service."""
    forecast, weights, shifts = forecasts[0], learnt[0].weights, learnt[0].shifts
    gradient = np.empty(_EXPERTS)
    for expert in range(_EXPERTS):
        probability = table[1 + expert, column] + _LEAST
        gradient[expert] = math.log(probability) - forecast.expected[expert]
    _move(weights.everywhere, gradient)
    for at in forecast.sets:
        _move(weights.sets[at], gradient)
    error = (column == forecast.top) - table[0, forecast.top]
    shifts[forecast.bucket] += _CORRECTION * error


def _weights(state: State) -> EnsembleWeights:
    weights: EnsembleWeights | None = state.get(_KEY)
    return EnsembleWeights() if weights is None else weights
