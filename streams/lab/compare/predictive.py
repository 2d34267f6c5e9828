"""foremesh's policy: the profiler's predictions, weighed against the price of warm time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.allocator.valuation.catalog_index import FALLBACK, CatalogIndex
from streams.allocator.valuation.paths import CriticalPaths
from streams.lab.compare.intensity import ConstituentIntensity
from streams.lab.compare.ledger import PolicyLedger
from streams.lab.models.silence import EDGES_MS
from streams.records import Prediction, Request
from streams.records.catalog import Catalog
from streams.stages.aggregator.hazard import soon
from streams.stages.base import StepContext
from streams.stages.profiler import Profiler

__all__ = ["PredictivePolicy", "WorthForecast"]

HOUR_MS = 3_600_000
# Factor on the price that a cold constituent must be worth: one that is wanted for about as long
# as it takes to start is paid for twice that time.
START = 2.0


@dataclass
class WorthForecast:
    """Runs the profiler online: the current value of keeping each constituent warm.

    Nothing is learnt from the future: the values at a time follow from earlier requests alone.
    """

    catalog: Catalog
    horizon_ms: int
    grain_ms: int  # finest time step in which the values change
    start_ms: int = 0  # fixed cost of each cold start, as ms of waiting, beside the wait itself

    def __post_init__(self) -> None:
        self.catalog_index = CatalogIndex(self.catalog)
        self.index = self.catalog_index.number
        slowest_ms = round(self.catalog_index.warm_up_ms.max(initial=0.0))
        self.intensity = ConstituentIntensity(len(self.index), slowest_ms + EDGES_MS[1])
        self._saved = _saved(self.catalog_index, self.start_ms)
        self._profiler = Profiler(horizon_ms=self.horizon_ms)
        self._state: MutableMapping[str, Any] = {}

    @property
    def worth(self) -> NDArray[np.float64]:
        """Value of keeping each constituent warm for one ms, in the unit of the prices."""
        return self.intensity.worth

    def until(self, now_ms: int) -> Iterator[int]:
        """Advance to `now_ms`; yields each time at which `worth` has changed."""
        return self.intensity.until(now_ms, self.grain_ms)

    def learn(self, request: Request) -> None:
        """Learn a request, which changes `worth`."""
        context = StepContext(catalog=self.catalog)
        for record in self._profiler.step(request, self._state, context):
            if isinstance(record, Prediction):
                self._expect(record, request.at_ms)
        # Feedback learns from the composite that was requested, whatever the outcome.
        self._profiler.mixture.feedback(self._state, request.user, request.request_id)

    def _expect(self, prediction: Prediction, now_ms: int) -> None:
        weight = self.catalog.tiers.get(prediction.tier, FALLBACK).weight / 1000
        worth = np.zeros(len(self.index))
        for predicted in prediction.services:
            for i, saved_ms in self._saved.get(predicted.service, ()):
                worth[i] += predicted.probability * saved_ms * weight
        within = soon(prediction)
        at = np.flatnonzero(worth)
        self.intensity.heard(prediction.user, now_ms, within, at, worth[at])


def _saved(index: CatalogIndex, start_ms: int) -> dict[str, list[tuple[int, float]]]:
    """Time that each warm constituent saves a request for a composite, in ms; see `CriticalPaths`.

    A request waits when any constituent is cold: they share the fixed cost of a start equally.
    """
    paths = CriticalPaths(index, index.warm_up_ms)
    saved: dict[str, list[tuple[int, float]]] = {}
    shares_by_step = zip(index.step_service, paths.parts, paths.shares, strict=True)
    for row, constituents, shares in shares_by_step:
        composite = index.services[row]
        start_share_ms = start_ms / max(1, len(index.parts_of(composite)))
        pairs = zip(constituents.tolist(), shares.tolist(), strict=True)
        saved.setdefault(composite, []).extend(
            (constituent, ms + start_share_ms)
            for constituent, ms in pairs
            if constituent >= 0 and ms > 0
        )
    return saved


class PredictivePolicy:
    """Keep warm while the worth per time exceeds the price: one policy per `scale` of the worth.

    A constituent is kept for the next instant when its expected saving in it exceeds its cost;
    nothing else is decided, since it can be ended or started at any later time. A cold
    constituent must be worth more, because its start is paid for as well.

    All scales are decided at once: they differ only in the threshold. When capacity binds, the
    constituents of highest worth per memory stay, which is optimal up to the last one evicted.
    """

    name = "foremesh"

    def __init__(
        self, scales: Sequence[float], forecast: WorthForecast, capacity_mib: float = math.inf
    ) -> None:
        self.parameters = [f"{scale:g} x worth" for scale in scales]
        self._forecast = forecast
        prices = forecast.catalog_index.price / HOUR_MS
        self._keep = prices / np.array(scales)[:, None]
        self._start = self._keep * START
        self._names = list(forecast.index)
        known = forecast.catalog_index.constituents
        self._memory = np.array([max(1.0, c.needs.memory) for c in known])
        self._capacity = capacity_mib
        self._warm = np.zeros(self._keep.shape, bool)

    def advance(self, now_ms: int, ledgers: Sequence[PolicyLedger]) -> None:
        """Advance to `now_ms`; there is a ledger for each scale."""
        for at_ms in self._forecast.until(now_ms):
            self._decide(at_ms, ledgers)

    def learn(
        self, request: Request, parts: Iterable[str], ledgers: Sequence[PolicyLedger]
    ) -> None:
        """Learn a request and the constituents that it has started, then decide again."""
        for name in parts:
            if name in self._forecast.index:
                self._warm[:, self._forecast.index[name]] = True
        self._forecast.learn(request)
        self._decide(request.at_ms, ledgers)

    def _decide(self, now_ms: int, ledgers: Sequence[PolicyLedger]) -> None:
        worth = self._forecast.worth
        wanted = worth >= np.where(self._warm, self._keep, self._start)
        if (wanted @ self._memory > self._capacity).any():
            wanted &= self._fitting(wanted, worth)
        changed = wanted != self._warm
        if not changed.any():
            return
        for scale, i in np.argwhere(changed & self._warm).tolist():
            ledgers[scale].end(self._names[i], now_ms)
        for scale, i in np.argwhere(changed & wanted).tolist():
            ledgers[scale].start(self._names[i], now_ms)
        self._warm = wanted

    def _fitting(self, wanted: NDArray[np.bool_], worth: NDArray[np.float64]) -> Any:
        """The wanted constituents that fit, taken in order of worth per memory."""
        density = np.where(wanted, worth * np.where(self._warm, START, 1.0) / self._memory, -1.0)
        order = np.argsort(-density, axis=1, kind="stable")
        taken = np.where(np.take_along_axis(wanted, order, 1), self._memory[order], 0.0)
        fits = np.empty_like(wanted)
        np.put_along_axis(fits, order, taken.cumsum(axis=1) <= self._capacity, 1)
        return fits
