"""Our own policy: what the profiler expects of the users, weighed against the price of memory."""

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
# How much more than its price what is cold has to be worth: what is wanted for about as long as
# it takes to start is paid for twice as long.
START = 2.0


@dataclass
class WorthForecast:
    """The profiler run online: at each moment the rate at which a warm constituent pays.

    Nothing is learnt from the future: rates at a time follow from the requests before it.
    """

    catalog: Catalog
    horizon_ms: int
    grain_ms: int  # rates change in steps of time no finer than this
    start_ms: int = 0  # of waiting that having to wait at all counts for, beside the wait

    def __post_init__(self) -> None:
        self.anatomy = CatalogIndex(self.catalog)
        self.index = self.anatomy.number
        slowest_ms = round(self.anatomy.warm_up_ms.max(initial=0.0))
        self.intensity = ConstituentIntensity(len(self.index), slowest_ms + EDGES_MS[1])
        self._saved = _saved(self.anatomy, self.start_ms)
        self._profiler = Profiler(horizon_ms=self.horizon_ms)
        self._state: MutableMapping[str, Any] = {}

    @property
    def worth(self) -> NDArray[np.float64]:
        """Of having each constituent warm for a ms, in the unit of the prices."""
        return self.intensity.worth

    def until(self, now_ms: int) -> Iterator[int]:
        """Let time pass up to `now_ms`: the times on the way, after each `worth` is new."""
        return self.intensity.until(now_ms, self.grain_ms)

    def learn(self, request: Request) -> None:
        """Take a request in; `worth` is new after it."""
        context = StepContext(catalog=self.catalog)
        for made in self._profiler.step(request, self._state, context):
            if isinstance(made, Prediction):
                self._expect(made, request.at_ms)
        # What feedback moves does not depend on the outcome but on the service that came.
        self._profiler.mixture.feedback(self._state, request.user, request.request_id)

    def _expect(self, prediction: Prediction, now_ms: int) -> None:
        weight = self.catalog.tiers.get(prediction.tier, FALLBACK).weight / 1000
        worth = np.zeros(len(self.index))
        for s in prediction.services:
            for i, saved_ms in self._saved.get(s.service, ()):
                worth[i] += s.probability * saved_ms * weight
        within = soon(prediction)
        at = np.flatnonzero(worth)
        self.intensity.heard(prediction.user, now_ms, within, at, worth[at])


def _saved(anatomy: CatalogIndex, start_ms: int) -> dict[str, list[tuple[int, float]]]:
    """What each constituent saves a request of a service when it is warm, in ms; see `CriticalPaths`.

    A request waits when any part of its service is cold: all have the same share in that.
    """
    paths = CriticalPaths(anatomy, anatomy.warm_up_ms)
    saved: dict[str, list[tuple[int, float]]] = {}
    steps = zip(anatomy.step_service, paths.parts, paths.shares, strict=True)
    for row, parts, shares in steps:
        service = anatomy.services[row]
        start_share_ms = start_ms / max(1, len(anatomy.parts_of(service)))
        pairs = zip(parts.tolist(), shares.tolist(), strict=True)
        saved.setdefault(service, []).extend(
            (part, ms + start_share_ms) for part, ms in pairs if part >= 0 and ms > 0
        )
    return saved


class PredictivePolicy:
    """Warm while the rate of worth exceeds the price: one policy for each `scale` of the worth.

    A constituent is kept for the next instant when what it is expected to save in it exceeds
    what it costs; there is nothing else to decide, since it can be given up or started at any
    later time. What is cold has to be worth more, for the start is paid too.

    All scales are decided upon at once: they differ only in the limit. When the capacity binds,
    what is worth most for its memory stays, which is optimal up to the last one that is cut.
    """

    name = "foremesh"

    def __init__(
        self, scales: Sequence[float], forecast: WorthForecast, capacity_mib: float = math.inf
    ) -> None:
        self.parameters = [f"{scale:g} x worth" for scale in scales]
        self._forecast = forecast
        prices = forecast.anatomy.price / HOUR_MS
        self._keep = prices / np.array(scales)[:, None]
        self._start = self._keep * START
        self._names = list(forecast.index)
        known = forecast.anatomy.constituents
        self._memory = np.array([max(1.0, c.needs.memory) for c in known])
        self._capacity = capacity_mib
        self._warm = np.zeros(self._keep.shape, bool)

    def advance(self, now_ms: int, ledgers: Sequence[PolicyLedger]) -> None:
        """Let time come to `now_ms`; a ledger for each scale."""
        for at_ms in self._forecast.until(now_ms):
            self._decide(at_ms, ledgers)

    def learn(
        self, request: Request, parts: Iterable[str], ledgers: Sequence[PolicyLedger]
    ) -> None:
        """Take in a request and what it has started, and decide anew."""
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
        """What is left of the wanted when the most worth for its memory is taken first."""
        density = np.where(wanted, worth * np.where(self._warm, START, 1.0) / self._memory, -1.0)
        order = np.argsort(-density, axis=1, kind="stable")
        taken = np.where(np.take_along_axis(wanted, order, 1), self._memory[order], 0.0)
        fits = np.empty_like(wanted)
        np.put_along_axis(fits, order, taken.cumsum(axis=1) <= self._capacity, 1)
        return fits
