"""Scores of what is expected within a horizon, at the next request or a few requests later."""

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
_EVERY = 4  # requests of which one is looked ahead from: it costs more than a prediction
_MOST = 4_096  # expectations of a horizon that wait for its end; without a clock it never comes
_MODELS = ("next", "chains")  # what the next request alone may be for, and later ones as well

Floats = npt.NDArray[np.float64]


@dataclass(slots=True, eq=False)
class _OpenForecast:
    """What was expected of a user, until the horizon is over."""

    user: str
    ends_ms: int
    items: npt.NDArray[np.int64]  # numbers of the services
    chances: list[Floats]  # by model and service
    came: set[int] = field(default_factory=set)


class HorizonScores:
    """Compares, service by service, whether it was asked for within the horizon with how likely.

    The score is Brier's, summed over services. What had not ended with the trace is left out.
    """

    def __init__(self) -> None:
        self._requests = 0
        self._open: list[deque[_OpenForecast]] = [
            deque() for _ in HORIZONS_MS
        ]  # in order of their ends
        self._by_user: defaultdict[str, list[_OpenForecast]] = defaultdict(list)
        self._n = np.zeros(len(HORIZONS_MS), np.int64)
        self._brier = np.zeros((len(_MODELS), len(HORIZONS_MS)))

    def heard(
        self, mixture: NextRequestMixture, state: dict[str, Any], user: str, at_ms: int
    ) -> None:
        """Take in a request that the mixture has just learnt, and look ahead from it."""
        for horizon, waiting in enumerate(self._open):
            while waiting and (waiting[0].ends_ms < at_ms or len(waiting) == _MOST):
                self._end(horizon, waiting.popleft(), at_ms)
        profile = mixture.profile(state, user)
        for one in self._by_user.get(user, ()):
            one.came.add(profile.last)
        self._requests += 1
        if self._requests % _EVERY == 0:
            for waiting, one in zip(
                self._open, _expected(mixture, state, user, at_ms), strict=True
            ):
                waiting.append(one)
                self._by_user[user].append(one)

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean scores; none when nothing could be scored."""
        if not self._n.all():
            return {}
        names = [f"brier_{horizon // 1000}s" for horizon in HORIZONS_MS]
        means = (self._brier / self._n).round(6).tolist()
        return {
            model: {"n": int(self._n.min()), **dict(zip(names, row, strict=True))}
            for model, row in zip(_MODELS, means, strict=True)
        }

    def _end(self, horizon: int, one: _OpenForecast, now_ms: int) -> None:
        self._by_user[one.user].remove(one)
        if not self._by_user[one.user]:
            del self._by_user[one.user]
        if one.ends_ms < now_ms:
            came = np.isin(one.items, list(one.came))
            self._n[horizon] += 1
            self._brier[:, horizon] += [((p - came) ** 2).sum() for p in one.chances]


def _expected(
    mixture: NextRequestMixture, state: dict[str, Any], user: str, at_ms: int
) -> Iterator[_OpenForecast]:
    """What is expected of this user within each horizon."""
    profile = mixture.profile(state, user)
    prediction = mixture.prediction(state, profile)
    items = prediction.candidates["service"].astype(np.int64)
    for length_ms in HORIZONS_MS:
        alone, both, _ = expected_within(mixture, state, profile, prediction, length_ms)
        yield _OpenForecast(user, at_ms + length_ms, items, [np.array(alone), np.array(both)])
