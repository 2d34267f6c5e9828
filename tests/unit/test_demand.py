"""Forecasts of demand, and how they are scored."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.lab.evaluate.demand import demand
from streams.lab.models.demand import DemandForecast, season_of
from streams.records import Request

HOUR_MS = 3_600_000


def daily(days: int, seed: int = 1) -> list[float]:
    """Requests an hour, most at noon."""
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    found: list[float] = rng.poisson(10 - 9 * np.cos(hours * math.pi / 12)).astype(float).tolist()
    return found


def test_the_season_of_a_daily_series_is_a_day() -> None:
    assert season_of(np.array(daily(14))) == 24


def test_chance_alone_has_hardly_ever_a_season() -> None:
    counts, walks = 0, 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        counts += season_of(rng.poisson(3, 500).astype(float)) > 0
        walks += season_of(rng.normal(size=500).cumsum()) > 0  # waves that only seem to come again

    assert counts <= 2
    assert walks <= 20


@pytest.mark.parametrize("values", [[], [1.0], [2.0] * 100])
def test_a_series_that_says_nothing_has_no_season(values: list[float]) -> None:
    assert season_of(np.array(values)) == 0


def test_a_season_that_changes_is_followed() -> None:
    forecast = DemandForecast()
    for value in [*daily(20), *([1.0, 1.0, 9.0, 9.0, 9.0, 1.0, 1.0] * 300)]:
        forecast.learn_one(value)

    assert forecast.season == 7
    assert [round(v) for v in forecast.forecast(7)] == [1, 1, 9, 9, 9, 1, 1]


def test_where_there_is_a_season_the_forecast_beats_all_that_knows_none() -> None:
    forecast, errors = DemandForecast(), np.zeros(2)
    before = 0.0
    for hour, came in enumerate(daily(40)):
        if hour > 24 * 10:
            errors += [(forecast.forecast(1)[0] - came) ** 2, (before - came) ** 2]
        forecast.learn_one(came)
        before = came

    assert errors[0] < 0.6 * errors[1]


@given(st.lists(st.floats(0, 1e6), max_size=200), st.integers(1, 50))
def test_a_forecast_is_finite_and_not_below_nothing(values: list[float], horizon: int) -> None:
    forecast = DemandForecast()
    for value in values:
        forecast.learn_one(value)

    made = forecast.forecast(horizon)

    assert len(made) == horizon
    assert all(math.isfinite(value) and value >= 0.0 for value in made)


def test_forecasting_changes_nothing() -> None:
    forecast = DemandForecast()
    for value in daily(9):
        forecast.learn_one(value)

    assert forecast.forecast(30) == forecast.forecast(30)


def test_demand_is_counted_by_service_and_interval() -> None:
    rng = random.Random(3)
    requests = [
        Request(request_id=str(n), user="u", service="ab"[rng.random() < 0.2], at_ms=n * HOUR_MS)
        for n in range(2_000)
    ]

    found = demand(requests)

    assert found is not None
    assert (found.width_ms, found.intervals, found.services) == (HOUR_MS, 1_999, 2)
    assert found.rmse["forecast"] <= found.rmse["last"]
    assert str(found).startswith("demand, 1,999 intervals of 3,600 s, 2 services")


def test_a_trace_without_a_clock_has_no_demand() -> None:
    assert demand([Request(request_id="1", user="u", service="a", at_ms=0)] * 100) is None
    assert demand([]) is None
