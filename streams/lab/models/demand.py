"""Forecast of demand by exponential smoothing, with a season that is detected from the data."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
from river.time_series.base import Forecaster

__all__ = ["DemandForecast", "season_of"]

Floats = npt.NDArray[np.float64]

_LEVELS = np.array((0.03, 0.1, 0.3, 0.8))  # learning rates of the levels
_PHASE = 0.2  # learning rate of the phases of the season
_KEEP = 1_024  # latest intervals, in which a season is searched for
_SEARCH = 24  # intervals from one search to the next
_CYCLES = 3  # fewest repetitions of a season
_SURE = 5.0  # standard errors by which the autocorrelation at a season must stand out
_NEARLY = 0.9  # share of the highest autocorrelation that makes a shorter period the season
_FADE = 0.98  # decay of the log-weights of the forecasts, per interval


def season_of(values: Floats) -> int:
    """The period of a series, in intervals; 0 when none stands out.

    The autocorrelation falls and rises again to a peak at the period, by more than chance
    explains: its standard error without a season is ``1 / sqrt(len(values))``.
    """
    n = len(values)
    deviations = values - values.mean() if n else values
    power = float(deviations @ deviations)
    if n < 2 * _CYCLES or power <= 0.0:
        return 0
    transform = np.fft.rfft(deviations, 2 * n)
    lags = np.fft.irfft(transform * transform.conj())[: n // _CYCLES + 2] / power
    lags *= n / (n - np.arange(len(lags)))  # each is a mean over its pairs
    inner = lags[1:-1]
    peaks = (inner >= lags[:-2]) & (inner >= lags[2:])
    fallen = np.minimum.accumulate(lags)[1:-1]
    season = peaks & (inner - fallen > _SURE / np.sqrt(n)) & (inner > _SURE / np.sqrt(n))
    if not season.any():
        return 0
    return int(np.flatnonzero(season & (inner >= _NEARLY * inner[season].max()))[0]) + 1


class DemandForecast(Forecaster):
    """Forecasts a series that comes interval by interval, such as the requests for a service.

    Idea: levels with several learning rates, each with and without a season (Holt-Winters,
    additive, without trend). The season is the period with the highest autocorrelation, searched
    for at intervals, if any stands out. The forecasts are averaged by the likelihood of the
    recent values under each.

    Guarantees: constant memory; forecasts are not below 0; as long as no season was found they
    are within the range of the observed values.

    Examples
    --------
    >>> forecast = DemandForecast()
    >>> for day in range(20):
    ...     for hour in range(24):
    ...         forecast.learn_one(10.0 if 9 <= hour < 17 else 1.0)
    >>> forecast.season
    24
    >>> [round(value) for value in forecast.forecast(10)]
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 10]

    References
    ----------
    Winters (1960), Forecasting sales by exponentially weighted moving averages, Management
    Science 6(3). Raftery, Karny & Ettler (2010), Online prediction under model uncertainty via
    dynamic model averaging, Technometrics 52(1), section 2: the averaging.
    """

    def __init__(self) -> None:
        self.season = 0
        self._past: deque[float] = deque(maxlen=_KEEP)
        self._learnt = 0
        self._levels = np.zeros((2, len(_LEVELS)))  # plain, deseasonalised
        self._phases = np.zeros(1)
        self._log_weights = np.zeros((2, len(_LEVELS)))
        self._error = 0.0  # recent mean square of the best forecast

    def learn_one(self, y: float, x: dict[Any, Any] | None = None) -> None:
        """Learn the value of the next interval."""
        del x
        if self._learnt == 0:
            self._levels[:] = y
        self._weigh(y)
        phase = self._learnt % len(self._phases)
        seasonal = y - self._phases[phase]
        self._phases[phase] += _PHASE * (seasonal - self._levels[1, 0]) if self.season else 0.0
        self._levels[0] += _LEVELS * (y - self._levels[0])
        self._levels[1] += _LEVELS * (seasonal - self._levels[1])
        self._past.append(y)
        self._learnt += 1
        if self._learnt % _SEARCH == 0:
            self._search()

    def forecast(self, horizon: int, xs: list[dict[Any, Any]] | None = None) -> list[float]:
        """The expected value in each of the next `horizon` intervals."""
        del xs
        weights = np.exp(self._log_weights - self._log_weights.max())
        weights /= weights.sum()
        level, seasonal = float((weights * self._levels).sum()), float(weights[1].sum())
        ahead = (self._learnt + np.arange(horizon)) % len(self._phases)
        forecasts: list[float] = np.maximum(level + seasonal * self._phases[ahead], 0.0).tolist()
        return forecasts

    def _weigh(self, y: float) -> None:
        """Update the weight of every forecast by its error."""
        forecasts = self._levels.copy()
        forecasts[1] += self._phases[self._learnt % len(self._phases)]
        squares = (forecasts - y) ** 2
        best = float(squares.min())
        self._error += max(1.0 / (self._learnt + 1), 1 - _FADE) * (best - self._error)
        self._log_weights *= _FADE
        self._log_weights -= squares / (2.0 * max(self._error, 1e-9))
        self._log_weights -= self._log_weights.max()

    def _search(self) -> None:
        """Search for the season; when it has changed, initialise its phases from the kept values."""
        past = np.array(self._past)
        season = season_of(past)
        if season == self.season:
            return
        self.season, self._phases = season, np.zeros(max(season, 1))
        if season:
            places = (self._learnt - len(past) + np.arange(len(past))) % season
            sums = np.bincount(places, past - past.mean(), season)
            self._phases = sums / np.bincount(places, minlength=season)
            self._levels[1] = past[-season:].mean()
