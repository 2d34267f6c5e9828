"""The recurrent network, alone or together with the mixture, as a River classifier."""

from __future__ import annotations

from typing import Any

from streams.lab.models.ensemble import NAMES, ROWS, ModelEnsemble
from streams.models.kernels import Table
from streams.models.next_request import classifier
from streams.models.next_request.classifier import NextServiceClassifier
from streams.models.next_request.mixture import MixtureConfig
from streams.models.next_request.predictor import MixturePrediction

__all__ = ["MODELS", "EnsembleClassifier"]

MODELS = (*classifier.MODELS, *NAMES)


class EnsembleClassifier(NextServiceClassifier):
    """A `NextServiceClassifier` that also offers the network, alone or with the mixture.

    Parameters
    ----------
    model
        One of `MODELS`.
    config
        Parameters of the mixture.
    """

    models = MODELS

    def __init__(self, model: str = "mixture", config: MixtureConfig | None = None) -> None:
        super().__init__(model, config)
        self._ensemble = ModelEnsemble(self._mixture) if model in NAMES else None

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        """Learn a request, as `NextServiceClassifier` does."""
        if self._ensemble is not None:
            user, at_ms = str(x.get("user", "")), int(x.get("at_ms", 0))
            self._ensemble.learn(self.state, user, str(y), at_ms, self._prediction(user))
        super().learn_one(x, y)

    def _row(self, user: str, prediction: MixturePrediction) -> Table:
        if self._ensemble is None:
            return super()._row(user, prediction)
        ensemble = self._ensemble.predict(self.state, user, prediction)
        row: Table = ensemble.table[ROWS[NAMES.index(self.model)]]
        return row
