"""How much is asked for in the intervals to come: smoothing whose season is found, not assumed."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
from river.time_series.base import Forecaster

__all__ = ["DemandForecast", "season_of"]

Floats = npt.NDArray[np.float64]

_LEVELS = np.array((0.03, 0.1, 0.3, 0.8))  # shares by which a level follows what came
_PHASE = 0.2  # share by which a phase of the season does
_KEEP = 1_024  # intervals in which a season is looked for
_SEARCH = 24  # intervals from one look to the next
_CYCLES = 3  # least repetitions of a season that are believed
_SURE = 5.0  # standard errors that the autocorrelation at a season stands out by
_NEARLY = 0.9  # of the highest autocorrelation: a shorter season that has it is the season
_FADE = 0.98  # of what the ways to forecast were worth, at each interval


def season_of(values: Floats) -> int:
    """The period, in intervals, that values repeat with; 0 when none stands out.

    The autocorrelation falls and rises again to a peak at the period, by more than chance would
    have it: its standard error without a season is ``1 / sqrt(len(values))``.
    """
    n = len(values)
    spread = values - values.mean() if n else values
    power = float(spread @ spread)
    if n < 2 * _CYCLES or power <= 0.0:
        return 0
    transform = np.fft.rfft(spread, 2 * n)
    lags = np.fft.irfft(transform * transform.conj())[: n // _CYCLES + 2] / power
    lags *= n / (n - np.arange(len(lags)))  # each is a mean over the pairs there are
    inner = lags[1:-1]
    peaks = (inner >= lags[:-2]) & (inner >= lags[2:])
    fallen = np.minimum.accumulate(lags)[1:-1]
    sure = peaks & (inner - fallen > _SURE / np.sqrt(n)) & (inner > _SURE / np.sqrt(n))
    if not sure.any():
        return 0
    return int(np.flatnonzero(sure & (inner >= _NEARLY * inner[sure].max()))[0]) + 1


class DemandForecast(Forecaster):
    """Forecasts a series that comes interval by interval, such as the requests for a service.

    Idea: levels that follow what came at several speeds, each with and without a season
    (Holt-Winters, additive, without trend). The season is the period at which the series is
    most alike itself, looked for again and again, and none where none stands out. The ways to
    forecast are averaged by how likely each made what came of late.

    Guarantees: constant memory; forecasts are not below 0; as long as no season was found they
    are within the range of what came.

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
        self._levels = np.zeros((2, len(_LEVELS)))  # as it is; and without the season
        self._phases = np.zeros(1)
        self._worth = np.zeros((2, len(_LEVELS)))  # log-weights
        self._error = 0.0  # mean square, of late

    def learn_one(self, y: float, x: dict[Any, Any] | None = None) -> None:
        """Take in what came in the next interval."""
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
        """What is expected in each of the next `horizon` intervals."""
        del xs
        weights = np.exp(self._worth - self._worth.max())
        weights /= weights.sum()
        level, seasonal = float((weights * self._levels).sum()), float(weights[1].sum())
        ahead = (self._learnt + np.arange(horizon)) % len(self._phases)
        found: list[float] = np.maximum(level + seasonal * self._phases[ahead], 0.0).tolist()
        return found

    def _weigh(self, y: float) -> None:
        """Score every way to forecast by what came."""
        made = self._levels.copy()
        made[1] += self._phases[self._learnt % len(self._phases)]
        squares = (made - y) ** 2
        best = float(squares.min())
        self._error += max(1.0 / (self._learnt + 1), 1 - _FADE) * (best - self._error)
        self._worth *= _FADE
        self._worth -= squares / (2.0 * max(self._error, 1e-9))
        self._worth -= self._worth.max()

    def _search(self) -> None:
        """Look for the season; where it is another one, begin it with what is remembered."""
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
