"""What warm constituents are worth together: a step is as fast as its slowest cold part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streams.allocator.valuation.catalog_index import Anatomy, Asked
from streams.allocator.valuation.paths import Paths
from streams.allocator.valuation.tail_probability import Floats

__all__ = ["Joint", "Parts", "layers_worth"]

Parts = frozenset[int]  # constituents, by number
Layer = tuple[
    int, float, list[float]
]  # the part that ends it, what it saves in ms, its worth by tier


def layers_worth(anatomy: Anatomy, paths: Paths, asked: Asked, trust: Floats) -> Floats:
    """Expected worth of each layer when all of it is warm: shape (steps, parts, tiers).

    Parameters
    ----------
    trust
        Of each constituent, see `Levels`; that of a layer is its least.
    """
    each = np.where(paths.parts >= 0, trust[paths.parts], 1.0)
    trusted_ms = np.minimum.accumulate(each, axis=1) * paths.saved_ms
    mean = asked.mean[anatomy.step_service]
    worth: Floats = trusted_ms[:, :, None] / 1000 * mean[:, None, :] * anatomy.weight
    return worth


class Joint:
    """The worth of sets of warm parts, for all composites that share them.

    Parameters
    ----------
    worth
        See `layers_worth`.
    warm
        A flag per constituent; this object changes it.
    """

    def __init__(self, anatomy: Anatomy, paths: Paths, worth: Floats, warm: list[bool]) -> None:
        self._anatomy, self._paths, self._worth, self._warm = anatomy, paths, worth, warm
        self._starts = paths.wait_ms > 0.0
        self._lost: Floats | None = None
        self._lost_list: list[list[float]] | None = None
        self._read: dict[int, list[Layer]] = {}

    def candidates(self, cost: Floats) -> list[Parts]:
        """Sets of several cold parts that complete a layer; those that cannot pay may be left out.

        What a set brings is at most what all layers are worth that its parts keep cold.
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
        """`gain` of each cold constituent alone, 0 of a warm one: shape (constituents, tiers)."""
        parts = self._paths.parts
        cold = ~self._flags()[parts] & self._starts
        one = (np.cumsum(cold, axis=1) == 1) & self._starts
        gains = np.where(one[:, :, None], self._worth, 0.0)
        # Of each step what all layers bring that only its first cold part keeps closed.
        first = cold & one
        return self._paths.per_part(np.where(first[:, :, None], gains.sum(axis=1)[:, None], 0.0))

    def missing(self, near: Iterable[int]) -> list[Parts]:
        """For each layer with one of these parts the parts that are not warm."""
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
        """What is gained when these parts become warm too, by tier."""
        total = [0.0] * len(self._anatomy.tiers)
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
        """What is lost when each warm part is no more: a row per constituent, by tier."""
        if self._lost is None:
            warm = np.cumsum(~self._flags()[self._paths.parts] & self._starts, axis=1) == 0
            full = np.where((warm & self._starts)[:, :, None], self._worth, 0.0)
            self._lost = self._paths.per_part(np.cumsum(full[:, ::-1], axis=1)[:, ::-1])
        return self._lost

    def lost(self, part: int) -> Sequence[float]:
        """The same of one constituent."""
        if self._lost_list is None:
            self._lost_list = self.losses().tolist()
        return self._lost_list[part]

    def set(self, parts: Iterable[int], *, warm: bool) -> None:
        """Count these parts as warm, or as warm no more, from now on."""
        for part in parts:
            self._warm[part] = warm
        self._lost = self._lost_list = None

    def _flags(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array(self._warm, np.bool_)

    def _touched(self, parts: Iterable[int]) -> list[int]:
        return sorted({step for part in parts for step in self._anatomy.steps_of[part]})

    def _layers(self, step: int) -> list[Layer]:
        """The layers of a step whose parts take a time to start; most steps are never asked for."""
        found = self._read.get(step)
        if found is None:
            paths, count = self._paths, np.count_nonzero(self._starts[step])
            columns = paths.parts[step], paths.saved_ms[step], self._worth[step]
            found = list(zip(*(column[:count].tolist() for column in columns), strict=True))
            self._read[step] = found
        return found
