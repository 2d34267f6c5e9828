"""What was said of each constituent last, to publish a verdict only where it no longer holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.leanings import NOTHING_SAID, Leaning, ValueAndCost, differing

__all__ = ["PublishedVerdicts"]


@dataclass(frozen=True, slots=True)
class PublishedVerdicts:
    """The verdict published last of each constituent; immutable."""

    by_name: Mapping[str, Leaning] = field(default_factory=dict)
    _arrays: list[tuple[CatalogIndex, Numbers]] = field(
        default_factory=list, compare=False, repr=False
    )  # once made

    def of(self, name: str) -> Leaning:
        """What was published of a constituent."""
        return self.by_name.get(name, NOTHING_SAID)

    def including(self, news: Mapping[str, Leaning], index: CatalogIndex) -> PublishedVerdicts:
        """The same after these verdicts."""
        if not news:
            return self
        rows = self._rows(index).copy()
        for name, leaning in news.items():
            rows[:, index.number[name]] = leaning
        return PublishedVerdicts({**self.by_name, **news}, [(index, rows)])

    def differing(
        self, have: Numbers, keep: ValueAndCost, leave: ValueAndCost, index: CatalogIndex
    ) -> list[int]:
        """The constituents of which the verdict published last no longer holds.

        Parameters
        ----------
        keep, leave
            Value and cost where there is an instance, and where there is none.
        """
        return differing(have, keep, leave, self._rows(index))

    def _rows(self, index: CatalogIndex) -> Numbers:
        """Choice and log2 of each constituent."""
        if not self._arrays or self._arrays[0][0] is not index:
            said = [self.of(c.service) for c in index.constituents]
            self._arrays[:] = [(index, np.array(said, np.int64).reshape(-1, 2).T.copy())]
        return self._arrays[0][1]
