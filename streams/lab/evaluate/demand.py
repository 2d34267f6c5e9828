"""Errors of the demand forecast for each service, one interval ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.lab.models.demand import DemandForecast
from streams.records import Request

__all__ = ["DemandErrors", "demand"]

Counts = npt.NDArray[np.float64]

_WIDTHS_MS = (1_000, 60_000, 600_000, 3_600_000, 86_400_000)
_MOST = 4_000  # intervals; the shortest width that gives no more is taken
_LEAST = 48  # intervals that a trace must have to be scored
_SERVICES = 100  # most requested services that are scored


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandErrors:
    """Errors of forecasts one interval ahead, over services and intervals."""

    width_ms: int  # of an interval
    intervals: int
    services: int
    seasons: int  # services with a season
    rmse: Mapping[str, float]  # in requests, by forecasting method

    def __str__(self) -> str:
        return (
            f"demand, {self.intervals:,} intervals of {self.width_ms // 1000:,} s,"
            f" {self.services} services, {self.seasons} with a season"
        )

    def summary(self) -> dict[str, dict[str, float]]:
        """The errors as plain values."""
        n = self.services * (self.intervals - 1)
        return {name: {"n": n, "rmse": round(error, 6)} for name, error in self.rmse.items()}


def demand(requests: Sequence[Request]) -> DemandErrors | None:
    """Forecast the number of requests for each service in the next interval, then learn it.

    Parameters
    ----------
    requests
        In order of time.

    Returns
    -------
    DemandErrors or None
        None when the trace has too few intervals.
    """
    counted = _counts(requests)
    if counted is None:
        return None
    width_ms, counts = counted
    squares: dict[str, float] = dict.fromkeys(("forecast", "last", "mean"), 0.0)
    seasons = 0
    for series in counts:
        forecast, predicted = DemandForecast(), np.zeros(len(series))
        for at, observed in enumerate(series.tolist()):
            predicted[at] = forecast.forecast(1)[0]
            forecast.learn_one(observed)
        seasons += forecast.season > 0
        mean = np.cumsum(series)[:-1] / np.arange(1, len(series))
        for name, guess in (("forecast", predicted[1:]), ("last", series[:-1]), ("mean", mean)):
            squares[name] += float(((series[1:] - guess) ** 2).sum())
    scored = counts[:, 1:].size
    return DemandErrors(
        width_ms=width_ms,
        intervals=counts.shape[1],
        services=len(counts),
        seasons=seasons,
        rmse={name: (total / scored) ** 0.5 for name, total in squares.items()},
    )


def _counts(requests: Sequence[Request]) -> tuple[int, Counts] | None:
    """Width of an interval in ms; requests by service, most requested first, and interval."""
    at_ms = np.array([request.at_ms for request in requests], np.int64)
    if not len(at_ms):
        return None
    at_ms -= at_ms.min()
    span_ms = int(at_ms.max())
    width_ms = next((w for w in _WIDTHS_MS if span_ms // w < _MOST), _WIDTHS_MS[-1])
    intervals = min(span_ms // width_ms, _MOST)  # the last one is incomplete
    if intervals < _LEAST:
        return None
    _, services = np.unique([request.service for request in requests], return_inverse=True)
    inside = at_ms < intervals * width_ms
    cells = services[inside] * intervals + at_ms[inside] // width_ms
    flat = np.bincount(cells, minlength=(services.max() + 1) * intervals)
    counts = flat.reshape(-1, intervals).astype(np.float64)
    return width_ms, counts[np.argsort(-counts.sum(1), kind="stable")[:_SERVICES]]
