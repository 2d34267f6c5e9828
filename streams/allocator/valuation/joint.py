"""Joint value of warm constituents: a step waits for its slowest cold constituent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streams.allocator.valuation.catalog_index import CatalogIndex, ExpectedRequests
from streams.allocator.valuation.paths import CriticalPaths
from streams.allocator.valuation.tail_probability import Floats

__all__ = ["JointWorth", "Parts", "layers_worth"]

Parts = frozenset[int]  # constituents, by number
Layer = tuple[
    int, float, list[float]
]  # the part that ends it, what it saves in ms, its worth by tier


def layers_worth(
    index: CatalogIndex, paths: CriticalPaths, asked: ExpectedRequests, factors: Floats
) -> Floats:
    """Expected value of each layer if all of it is warm: shape (steps, parts, tiers).

    Parameters
    ----------
    factors
        Calibration factor per constituent; a layer takes the least of its constituents.
    """
    each = np.where(paths.parts >= 0, factors[paths.parts], 1.0)
    trusted_ms = np.minimum.accumulate(each, axis=1) * paths.saved_ms
    mean = asked.mean[index.step_service]
    worth: Floats = trusted_ms[:, :, None] / 1000 * mean[:, None, :] * index.weight
    return worth


class JointWorth:
    """Value of sets of warm constituents, over all composites that share them.

    Parameters
    ----------
    worth
        See `layers_worth`.
    warm
        A flag per constituent; owned and updated by this object.
    """

    def __init__(
        self, index: CatalogIndex, paths: CriticalPaths, worth: Floats, warm: list[bool]
    ) -> None:
        self._index, self._paths, self._worth, self._warm = index, paths, worth, warm
        self._starts = paths.wait_ms > 0.0
        self._lost: Floats | None = None
        self._lost_list: list[list[float]] | None = None
        self._read: dict[int, list[Layer]] = {}

    def candidates(self, cost: Floats) -> list[Parts]:
        """Sets of several cold constituents that complete a layer, except those that cannot pay.

        The gain of a set is at most the value of all layers that its members block.
        """
        parts, total = self._paths.parts, self._worth.sum(axis=2)
        cold = ~self._flags()[parts] & self._starts
        count = np.cumsum(cold, axis=1)
        opened = np.where(count > 0, total, 0.0)
        blocked = np.cumsum(opened[:, ::-1], axis=1)[:, ::-1] * cold
        most = np.bincount(parts[cold], blocked[cold], len(cost))
        at_most = np.cumsum(np.where(cold, most[parts], 0.0), axis=1)
        at_least = np.cumsum(np.where(cold, cost[parts], 0.0), axis=1)
        found = set[Parts]()
        for step, i in np.argwhere((opened > 0.0) & (count > 1) & (at_most > at_least)).tolist():
            layers = self._layers(step)[: i + 1]
            found.add(frozenset(part for part, _, _ in layers if not self._warm[part]))
        return sorted(found, key=sorted)

    def singles(self) -> Floats:
        """`gain` of each cold constituent alone, 0 for warm ones: shape (constituents, tiers)."""
        parts = self._paths.parts
        cold = ~self._flags()[parts] & self._starts
        one = (np.cumsum(cold, axis=1) == 1) & self._starts
        gains = np.where(one[:, :, None], self._worth, 0.0)
        # Per step the value of all layers that only its first cold constituent blocks.
        first = cold & one
        return self._paths.per_part(np.where(first[:, :, None], gains.sum(axis=1)[:, None], 0.0))

    def missing(self, near: Iterable[int]) -> list[Parts]:
        """The cold constituents of each layer that contains one of these."""
        found = set[Parts]()
        for step in self._touched(near):
            cold: list[int] = []
            for part, saved_ms, _ in self._layers(step):
                if not self._warm[part]:
                    cold.append(part)
                if cold and saved_ms > 0.0:
                    found.add(frozenset(cold))
        return sorted(found, key=sorted)

    def gain(self, parts: Parts) -> tuple[float, ...]:
        """Gain by tier if these constituents become warm too."""
        total = [0.0] * len(self._index.tiers)
        for step in self._touched(parts):
            counts = False
            for part, _, worth in self._layers(step):
                if part in parts:
                    counts = True
                elif not self._warm[part]:
                    break
                if counts:
                    total = [sum(pair) for pair in zip(total, worth, strict=True)]
        return tuple(total)

    def losses(self) -> Floats:
        """Loss by tier if one warm constituent ends; a row per constituent."""
        if self._lost is None:
            warm = np.cumsum(~self._flags()[self._paths.parts] & self._starts, axis=1) == 0
            full = np.where((warm & self._starts)[:, :, None], self._worth, 0.0)
            self._lost = self._paths.per_part(np.cumsum(full[:, ::-1], axis=1)[:, ::-1])
        return self._lost

    def lost(self, part: int) -> Sequence[float]:
        """Loss by tier if this constituent ends."""
        if self._lost_list is None:
            self._lost_list = self.losses().tolist()
        return self._lost_list[part]

    def set(self, parts: Iterable[int], *, warm: bool) -> None:
        """Mark these constituents as warm or cold."""
        for part in parts:
            self._warm[part] = warm
        self._lost = self._lost_list = None

    def _flags(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array(self._warm, np.bool_)

    def _touched(self, parts: Iterable[int]) -> list[int]:
        return sorted({step for part in parts for step in self._index.steps_of[part]})

    def _layers(self, step: int) -> list[Layer]:
        """Layers of a step with a start-up time above 0; cached, since few steps are ever read."""
        found = self._read.get(step)
        if found is None:
            paths, count = self._paths, np.count_nonzero(self._starts[step])
            columns = paths.parts[step], paths.saved_ms[step], self._worth[step]
            found = list(zip(*(column[:count].tolist() for column in columns), strict=True))
            self._read[step] = found
        return found
