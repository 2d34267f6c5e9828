"""The mixture, or one expert of it, as a River classifier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from river.base import Classifier

from streams.models.kernels import Table
from streams.models.next_request.experts import EXPERTS
from streams.models.next_request.mixture import MixtureConfig, NextRequestMixture
from streams.models.next_request.prediction import MixturePrediction
from streams.models.next_request.state_keys import State

__all__ = ["MODELS", "NETWORKS", "NextServiceClassifier", "network_rows"]

NETWORKS = ("mixture+rnn", "rnn")  # with the recurrent network, and it alone
MODELS = ("mixture", *EXPERTS, *NETWORKS)


class NextServiceClassifier(Classifier):
    """Predicts which service a user asks for next.

    Idea: River's interface to what the profiler does: features name the user and the time, and
    may have parameters; the label is the service.

    Events without a user are those of one more user. What of River's interface does not fit: a
    probability of "" is no class's, and features other than these are not looked at.

    Guarantees: predicting changes nothing; probabilities of services known and of "", which
    stands for all not listed, sum to 1.

    Parameters
    ----------
    model
        One of `MODELS`: the mixture, a single expert of it, or the recurrent network.
    config
        Parameters of the mixture.

    Examples
    --------
    >>> model = NextServiceClassifier("user-2")
    >>> for n, service in enumerate(["order", "pay", "receipt"] * 9):
    ...     model.learn_one({"user": "ann", "at_ms": n * 1000}, service)
    >>> model.predict_one({"user": "ann"})
    'order'

    References
    ----------
    Montiel et al. (2021), River: machine learning for streaming data in Python, JMLR 22(110).
    """

    def __init__(self, model: str = "mixture", config: MixtureConfig | None = None) -> None:
        if model not in MODELS:
            raise ValueError(f"model is {model!r}, not one of {', '.join(MODELS)}")
        self.model = model
        self.config = config or MixtureConfig()
        self._mixture = NextRequestMixture(replace(self.config, rnn=model in NETWORKS))
        self._learnt = 0
        self._labels: dict[str, Any] = {}  # as they were given: a service is text
        self.state: State = {}

    def predict_proba_one(self, x: dict[Any, Any], **kwargs: Any) -> dict[Any, float]:
        """Probability of each service for the user `x["user"]`, and of "" for all others."""
        del kwargs
        user = _user(x)
        prediction = self._prediction(user, x.get("at_ms"))
        row = self._row(prediction)
        values = (row / row.sum()).tolist()
        names = self._mixture.names(self.state, prediction)
        labels = [self._labels.get(name, name) for name in names]
        return {**dict(zip(labels, values, strict=False)), "": values[-2] + values[-1]}

    def predict_one(self, x: dict[Any, Any], **kwargs: Any) -> Any:
        """The most probable service; None when none is known."""
        vector = self.predict_proba_one(x, **kwargs)
        del vector[""]
        return max(vector, key=lambda service: vector[service], default=None)

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        """Take in that `x["user"]` asked for `y` at `x["at_ms"]`, 0 when there is no clock.

        `x["parameters"]` may hold how it was asked for, text by name.
        """
        self._labels[str(y)] = y
        self._learnt += 1
        self._mixture.learn(
            self.state,
            _user(x),
            str(y),
            at_ms=int(x.get("at_ms", 0)),
            request_id=str(self._learnt),
            parameters=x.get("parameters"),
        )

    @property
    def _multiclass(self) -> bool:
        """What River asks of a classifier: there are more than two services."""
        return True

    def _prediction(self, user: str, at_ms: Any) -> MixturePrediction:
        profile = self._mixture.profile(self.state, user)
        if at_ms is None:
            return self._mixture.prediction(self.state, profile)
        return self._mixture.prediction_given(self.state, profile, profile.gap_to(int(at_ms)))

    def _row(self, prediction: MixturePrediction) -> Table:
        """Probabilities by column, as the chosen model has them."""
        if self.model in NETWORKS:
            return network_rows(prediction)[NETWORKS.index(self.model)]
        row: Table = prediction.table[MODELS.index(self.model)]
        return row


def network_rows(prediction: MixturePrediction) -> tuple[Table, Table]:
    """Probabilities by column with the recurrent network, and of it alone; they are of `NETWORKS`."""
    assert prediction.joined is not None
    together, alone, _ = prediction.joined.table
    return together, np.exp(alone)


def _user(x: dict[Any, Any]) -> str:
    return str(x.get("user", ""))
