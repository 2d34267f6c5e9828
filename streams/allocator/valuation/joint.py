"""Joint value of warm constituents: a step waits for its slowest cold constituent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.occupancy import Floats
from streams.allocator.valuation.step_values import Flags, StepValues, step_values

__all__ = ["JointWorth", "Parts"]

Parts = frozenset[int]  # constituents, by number
Layer = tuple[
    int, float, list[float]
]  # the part that ends it, what it saves in ms, its worth by tier


class JointWorth:
    """Value of sets of warm constituents, over all composites that share them.

    Parameters
    ----------
    wait_ms
        Start-up time of each constituent.
    asked
        Expected requests within the horizon: composites x tiers.
    cost
        Of starting each constituent.
    warm
        A flag per constituent; owned and updated by this object.
    """

    def __init__(
        self, index: CatalogIndex, wait_ms: Floats, asked: Floats, cost: Floats, warm: Flags
    ) -> None:
        self._index, self._wait_ms, self._asked = index, wait_ms, asked
        self._cost, self._warm = cost, warm
        self._values: StepValues | None = None
        self._read: dict[int, list[Layer]] = {}

    @property
    def values(self) -> StepValues:
        """The values of each constituent alone, given what is warm now."""
        if self._values is None:
            self._values = step_values(
                self._index, self._wait_ms, self._warm, self._cost, self._asked
            )
        return self._values

    def candidates(self) -> list[Parts]:
        """Sets of several cold constituents that complete a layer, except those that cannot pay."""
        found: set[Parts] = set()
        joint = self.values.joint
        for step, i in np.argwhere(joint).tolist() if np.count_nonzero(joint) else ():
            layers = self._layers(step)[: i + 1]
            found.add(frozenset(part for part, _, _ in layers if not self._warm[part]))
        return sorted(found, key=sorted)

    def missing(self, near: Iterable[int]) -> list[Parts]:
        """The cold constituents of each layer that contains one of these."""
        found: set[Parts] = set()
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
                    for tier, more in enumerate(worth):
                        total[tier] += more
        return tuple(total)

    def lost(self, part: int) -> Sequence[float]:
        """Loss by tier if this constituent ends."""
        lost: list[float] = self.values.lost[part].tolist()
        return lost

    def set(self, parts: Iterable[int], *, warm: bool) -> None:
        """Mark these constituents as warm or cold."""
        for part in parts:
            self._warm[part] = warm
        self._values = None

    def _touched(self, parts: Iterable[int]) -> list[int]:
        return sorted({step for part in parts for step in self._index.steps_of[part]})

    def _layers(self, step: int) -> list[Layer]:
        """Layers of a step with a start-up time above 0; cached, since few steps are ever read."""
        found = self._read.get(step)
        if found is None:
            wait_ms, index = self._wait_ms, self._index
            parts = [part for part in index.step_parts[step].tolist() if part >= 0]
            slow = sorted((-float(wait_ms[part]), part) for part in parts if wait_ms[part] > 0.0)
            rest = [*(-wait for wait, _ in slow), 0.0][1:]
            each = self._asked[index.step_service[step]] * index.weight / 1000
            found = [
                (part, -wait - after, ((-wait - after) * each).tolist())
                for (wait, part), after in zip(slow, rest, strict=True)
            ]
            self._read[step] = found
        return found
