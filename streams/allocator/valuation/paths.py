"""The critical paths of all composites at once, for the start-up times as they are."""

from __future__ import annotations

import numpy as np

from streams.allocator.valuation.catalog_index import Anatomy, Numbers
from streams.allocator.valuation.tail_probability import Floats

__all__ = ["Paths"]


class Paths:
    """Steps with their parts slowest first, and what each layer of a step saves.

    A layer is a part and all that are slower: the slowest part of a step saves the time up to
    the second slowest, both together that up to the third, and so on. Warming a part behind a
    slower cold one saves nothing.

    Parameters
    ----------
    warm_up_ms
        Start-up time of each constituent.

    Attributes
    ----------
    parts
        A row per step; -1 stands for none.
    saved_ms
        In the same shape, what the layer that ends with this part saves when all of it is warm.
    shares
        In the same shape, the part's share in the time that the step waits: its Shapley value
        of the maximum. Everyone shares in the part up to the fastest, the rest up to the next
        fastest, and so on (Littlechild and Owen, Management Science 20(3), 1973: the airport
        game).
    """

    def __init__(self, anatomy: Anatomy, warm_up_ms: Floats) -> None:
        wait = np.where(anatomy.step_parts >= 0, warm_up_ms[anatomy.step_parts], 0.0)
        order = np.lexsort((anatomy.step_parts, -wait), axis=1)
        self.parts: Numbers = np.take_along_axis(anatomy.step_parts, order, axis=1)
        self.wait_ms: Floats = np.take_along_axis(wait, order, axis=1)
        self.saved_ms: Floats = -np.diff(self.wait_ms, axis=1, append=0.0)
        width = self.parts.shape[1]
        rising = np.diff(self.wait_ms[:, ::-1], axis=1, prepend=0.0)
        shared = np.cumsum(rising / (width - np.arange(width)), axis=1)
        self.shares: Floats = shared[:, ::-1]
        self._size = len(anatomy.constituents)
        self._there = self.parts >= 0
        self._part = self.parts[self._there]

    def per_part(self, values: Floats) -> Floats:
        """Sums of values (steps, parts or 1, tiers) over the steps of each constituent."""
        tiers = values.shape[2]
        spread = np.broadcast_to(values, (*self.parts.shape, tiers))[self._there]
        places = self._part[:, None] * tiers + np.arange(tiers)
        sums = np.bincount(places.ravel(), spread.ravel(), self._size * tiers)
        return sums.astype(np.float64).reshape(self._size, tiers)
