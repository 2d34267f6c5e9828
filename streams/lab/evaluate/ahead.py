"""Scores of the services predicted within a horizon, at the next request or a few later."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.models.next_request.lookahead import expected_within
from streams.models.next_request.mixture import NextRequestMixture

__all__ = ["HORIZONS_MS", "HorizonScores"]

HORIZONS_MS = (60_000, 300_000)
_EVERY = 4  # requests per look-ahead, which costs more than a prediction
_MOST = 4_096  # open forecasts per horizon; in a trace without times they never end
_MODELS = ("next", "chains")  # from the next request alone, and from later ones as well

Floats = npt.NDArray[np.float64]


@dataclass(slots=True, eq=False)
class _OpenForecast:
    """A forecast for a user, until its horizon ends."""

    user: str
    ends_ms: int
    items: npt.NDArray[np.int64]  # numbers of the services
    probabilities: list[Floats]  # by model and service
    requested: set[int] = field(default_factory=set)  # services, since the forecast


class HorizonScores:
    """Scores, service by service, the probability of a request within the horizon.

    The score is Brier's, summed over services. Horizons that the trace does not cover are left
    out.
    """

    def __init__(self) -> None:
        self._requests = 0
        # By horizon, in order of their ends.
        self._open: list[deque[_OpenForecast]] = [deque() for _ in HORIZONS_MS]
        self._by_user: defaultdict[str, list[_OpenForecast]] = defaultdict(list)
        self._n = np.zeros(len(HORIZONS_MS), np.int64)
        self._brier = np.zeros((len(_MODELS), len(HORIZONS_MS)))

    def heard(
        self, mixture: NextRequestMixture, state: dict[str, Any], user: str, at_ms: int
    ) -> None:
        """Count a request that the mixture has just learnt, and look ahead from every fourth."""
        for horizon, forecasts in enumerate(self._open):
            while forecasts and (forecasts[0].ends_ms < at_ms or len(forecasts) == _MOST):
                self._end(horizon, forecasts.popleft(), at_ms)
        profile = mixture.profile(state, user)
        for forecast in self._by_user.get(user, ()):
            forecast.requested.add(profile.last)
        self._requests += 1
        if self._requests % _EVERY == 0:
            made = _forecasts(mixture, state, user, at_ms)
            for forecasts, forecast in zip(self._open, made, strict=True):
                forecasts.append(forecast)
                self._by_user[user].append(forecast)

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean scores by model; empty when no horizon has ended."""
        if not self._n.all():
            return {}
        names = [f"brier_{horizon // 1000}s" for horizon in HORIZONS_MS]
        means = (self._brier / self._n).round(6).tolist()
        return {
            model: {"n": int(self._n.min()), **dict(zip(names, row, strict=True))}
            for model, row in zip(_MODELS, means, strict=True)
        }

    def _end(self, horizon: int, forecast: _OpenForecast, now_ms: int) -> None:
        user = forecast.user
        self._by_user[user].remove(forecast)
        if not self._by_user[user]:
            del self._by_user[user]
        if forecast.ends_ms < now_ms:
            requested = np.isin(forecast.items, list(forecast.requested))
            self._n[horizon] += 1
            self._brier[:, horizon] += [
                ((p - requested) ** 2).sum() for p in forecast.probabilities
            ]


def _forecasts(
    mixture: NextRequestMixture, state: dict[str, Any], user: str, at_ms: int
) -> Iterator[_OpenForecast]:
    """The forecast for a user, by horizon."""
    profile = mixture.profile(state, user)
    prediction = mixture.prediction(state, profile)
    items = prediction.candidates["service"].astype(np.int64)
    for length_ms in HORIZONS_MS:
        alone, both, *_ = expected_within(mixture, state, profile, prediction, length_ms)
        yield _OpenForecast(user, at_ms + length_ms, items, [np.array(alone), np.array(both)])
