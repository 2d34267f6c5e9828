"""Our own policy: what the stages expect of the users, weighed as the allocator weighs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.catalog import Catalog
from streams.compare.ledger import Ledger
from streams.records import Demand, Prediction, Record, Request
from streams.stages import aggregator
from streams.stages.anatomy import Anatomy
from streams.stages.base import Context
from streams.stages.levels import Levels, uses_of
from streams.stages.paths import Paths
from streams.stages.profiler import Profiler

__all__ = ["Forecast", "Predictive"]

HOUR_MS = 3_600_000


@dataclass
class Forecast:
    """The profiler and the aggregator, run online: the worth of having each constituent warm.

    Nothing is learnt from the future: demand at a time follows from the requests before it.
    """

    catalog: Catalog
    horizon_ms: int
    tick_ms: int

    def __post_init__(self) -> None:
        self.anatomy = Anatomy(self.catalog)
        self.index = self.anatomy.number
        self.worth = np.zeros(len(self.index))  # of the first warm instance of each, now
        self._profiler = Profiler(horizon_ms=self.horizon_ms)
        self._aggregator = aggregator.Aggregator(aggregator.Config(tick_ms=self.tick_ms))
        self._users: MutableMapping[str, Any] = {}
        self._sums: MutableMapping[str, Any] = {}
        self._paths = Paths(self.anatomy, self.anatomy.warm_up_ms)
        self._none = np.zeros(len(self.index))
        self._demands: list[Demand] = []
        self._now_ms = 0

    def until(self, now_ms: int) -> Iterator[int]:
        """Let time pass up to `now_ms`: the ticks on the way, after each `worth` is new."""
        context = Context(catalog=self.catalog)
        first = (self._now_ms // self.tick_ms + 1) * self.tick_ms
        for tick_ms in range(first, now_ms, self.tick_ms) if self._now_ms else ():
            if self._demands:
                self._weigh(self._aggregator.tick(tick_ms, self._sums, context))
            yield tick_ms
        self._now_ms = now_ms

    def learn(self, request: Request) -> None:
        """Take a request in; `worth` is new after it."""
        context = Context(catalog=self.catalog)
        for prediction in self._profiler.step(request, self._users, context):
            if isinstance(prediction, Prediction):
                list(self._aggregator.step(prediction, self._sums, context))
        self._weigh(self._aggregator.tick(request.at_ms, self._sums, context))

    def _weigh(self, made: Iterable[Record]) -> None:
        demands = [demand for demand in made if isinstance(demand, Demand)]
        if [d.services for d in demands] == [d.services for d in self._demands]:
            return
        self._demands = demands
        uses = uses_of(self.anatomy.asked(demands), self.anatomy, self._paths)
        levels = Levels(uses, self.anatomy, overlap=self._none, most=1, enough=self._none)
        self.worth = levels.value[:, 0]


class Predictive:
    """Warm while the expected worth exceeds the price: started for `scale` times the tiers' worth.

    The same arithmetic as the allocator's first instances, each by itself: what is cold is
    started when its worth, less what the start-up loses of it, exceeds the cost of the horizon
    and the start-up; what is warm is kept until its worth has fallen below the horizon's cost.
    """

    name = "foremesh"

    def __init__(self, scale: float, forecast: Forecast) -> None:
        self.parameter = f"{scale:g} x worth"
        self._forecast = forecast
        known = forecast.anatomy.constituents
        prices = np.array([c.price for c in known]) / HOUR_MS / scale
        start_ms = np.array([float(c.warm_up_ms) for c in known])
        lead = np.maximum(0.5, 1 - start_ms / (2 * forecast.horizon_ms))
        self._names = list(forecast.index)
        self._keep = prices * forecast.horizon_ms
        self._start = prices * (forecast.horizon_ms + start_ms) / lead
        self._warm = np.zeros(len(self._names), bool)

    def advance(self, now_ms: int, ledger: Ledger) -> None:
        """Decide anew."""
        worth = self._forecast.worth
        ends, starts = self._warm & (worth < self._keep), ~self._warm & (worth > self._start)
        for i in np.flatnonzero(ends).tolist():
            ledger.end(self._names[i], now_ms)
        for i in np.flatnonzero(starts).tolist():
            ledger.start(self._names[i], now_ms)
        self._warm ^= ends | starts

    def used(self, name: str, now_ms: int, next_ms: int, ledger: Ledger) -> None:
        """Note what a request has started; the forecast learns for all."""
        del now_ms, next_ms, ledger
        if name in self._forecast.index:
            self._warm[self._forecast.index[name]] = True
