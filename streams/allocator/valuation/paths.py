"""Critical paths of all composites at once, for given start-up times."""

from __future__ import annotations

import numpy as np

from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.tail_probability import Floats

__all__ = ["CriticalPaths"]


class CriticalPaths:
    """Steps with their constituents slowest first, and what each layer of a step saves.

    A layer is a constituent and all slower ones: the slowest saves the time down to the second
    slowest, these two together the time down to the third, and so on. Warming a constituent
    behind a slower cold one saves nothing.

    Parameters
    ----------
    warm_up_ms
        Start-up time of each constituent.

    Attributes
    ----------
    parts
        Constituents of each step, a row per step; padded with -1.
    saved_ms
        In the same shape, the saving of the layer that ends here if all of it is warm.
    shares
        In the same shape, the constituent's share in the wait of the step: its Shapley value in
        the maximum. All share the time of the fastest, all but it the time up to the next fastest,
        and so on (Littlechild and Owen, Management Science 20(3), 1973: the airport
        game).
    """

    def __init__(self, index: CatalogIndex, warm_up_ms: Floats) -> None:
        wait = np.where(index.step_parts >= 0, warm_up_ms[index.step_parts], 0.0)
        order = np.lexsort((index.step_parts, -wait), axis=1)
        self.parts: Numbers = np.take_along_axis(index.step_parts, order, axis=1)
        self.wait_ms: Floats = np.take_along_axis(wait, order, axis=1)
        self.saved_ms: Floats = -np.diff(self.wait_ms, axis=1, append=0.0)
        width = self.parts.shape[1]
        rising = np.diff(self.wait_ms[:, ::-1], axis=1, prepend=0.0)
        shared = np.cumsum(rising / (width - np.arange(width)), axis=1)
        self.shares: Floats = shared[:, ::-1]
        self._size = len(index.constituents)
        self._there = self.parts >= 0
        self._part = self.parts[self._there]

    def per_part(self, values: Floats) -> Floats:
        """Sums of values (steps, parts or 1, tiers) over the steps of each constituent."""
        tiers = values.shape[2]
        spread = np.broadcast_to(values, (*self.parts.shape, tiers))[self._there]
        places = self._part[:, None] * tiers + np.arange(tiers)
        sums = np.bincount(places.ravel(), spread.ravel(), self._size * tiers)
        return sums.astype(np.float64).reshape(self._size, tiers)
