"""What was said of each constituent last, to publish a verdict only where it no longer holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.occupancy import Floats
from streams.records.verdicts import Choice

__all__ = ["ORDER", "Leaning", "PublishedVerdicts", "doublings", "is_news"]

FAR = 6  # log2 of value over cost is clipped to this: what is far from paying may go farther
NEWS = 3  # change of that log2 that is published again
ORDER = list(Choice)

Leaning = tuple[int, int]  # a choice, by its place in `ORDER`, and the log2 of value over cost

NOTHING_SAID = (ORDER.index(Choice.LEAVE), -FAR - 1)  # the first is told of a little earlier


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

    def differ(
        self, choice: Numbers, value: Floats, cost: Floats, index: CatalogIndex
    ) -> NDArray[np.bool_]:
        """Of which constituents the verdict published last no longer holds."""
        found: NDArray[np.bool_] = is_news((choice, doublings(value, cost)), self._rows(index))
        return found

    def _rows(self, index: CatalogIndex) -> Numbers:
        """Choice and log2 of each constituent."""
        if not self._arrays or self._arrays[0][0] is not index:
            said = [self.of(c.service) for c in index.constituents]
            self._arrays[:] = [(index, np.array(said, np.int64).reshape(-1, 2).T)]
        return self._arrays[0][1]


def doublings(value: Any, cost: Any) -> Any:
    """The rounded log2 of value over cost, clipped; of numbers or arrays."""
    ratio = value / np.maximum(cost, 1e-300)
    return np.rint(np.log2(np.minimum(np.maximum(ratio, 2.0**-FAR), 2.0**FAR)))


def is_news(new: Any, last: Any) -> Any:
    """Whether a verdict differs enough from the last one to be published; of pairs, or of arrays."""
    return (new[0] != last[0]) | (abs(new[1] - last[1]) >= NEWS)
