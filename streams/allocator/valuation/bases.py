"""Value of warm bases: what they save the constituents that start from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streams.allocator.valuation.catalog_index import CatalogIndex, Numbers
from streams.allocator.valuation.occupancy import Floats
from streams.allocator.valuation.step_values import Flags

__all__ = ["WarmBases"]


class WarmBases:
    """Values of the bases of a catalogue, given which are warm.

    Starting on a cold base includes the base's own start. So a base and the constituents on it
    are substitutes, while the constituents of a step are complements: a warm base is worth what
    it takes off the wait for cold constituents, and nothing once they are warm.

    Parameters
    ----------
    warm_up_ms
        Start-up time of each constituent on a warm base.
    asked
        Expected requests within the horizon.
    warm
        Per constituent whether it has an instance; shared, not copied. While no base starts or
        ends this object stays valid; call `weigh` for the bases whose value has changed.

    Attributes
    ----------
    wait_ms
        Start-up time per constituent, its base's included when that is cold.
    requests
        Expected requests per base that it is of use to.
    """

    def __init__(
        self,
        index: CatalogIndex,
        warm_up_ms: Floats,
        asked: Floats,
        warm: Flags,
    ) -> None:
        self._index, self._own_ms, self._warm = index, warm_up_ms, warm
        self._asked = asked
        self._any_cold = False
        if index.steps_on:
            self._cold = (index.base >= 0) & ~warm[index.base]
            self._any_cold = bool(self._cold.any())
        self.wait_ms = self.with_base(warm_up_ms)
        self._worth = np.zeros((len(warm), len(index.tiers)))
        self.requests = np.zeros(len(warm))
        self.weigh(index.steps_on)

    def with_base(self, ms: Floats) -> Floats:
        """Add to each time that of the base where the base is cold."""
        if not self._any_cold:
            return ms
        longer: Floats = ms + np.where(self._cold, ms[self._index.base], 0.0)
        return longer

    def under(self, parts: Iterable[int]) -> set[int]:
        """Cold bases that these constituents start from."""
        if not self._any_cold:
            return set()
        return {int(self._index.base[part]) for part in parts if self._cold[part]}

    def weigh(self, bases: Iterable[int]) -> None:
        """Recompute the value of these bases from what is warm now."""
        index, warm = self._index, self._warm
        for base in bases:
            steps = index.steps_on[base]
            saved_ms = self._saved_ms(base, steps, warm)
            mean = self._asked[index.step_service[steps]]
            self._worth[base] = saved_ms @ mean / 1000 * index.weight
            self.requests[base] = mean[saved_ms > 0.0].sum()

    def gains(self) -> Floats:
        """Gain by tier of each cold base alone; a row per constituent."""
        return self._of(warm=False)

    def losses(self) -> Floats:
        """Loss by tier if one warm base ends; a row per constituent."""
        return self._of(warm=True)

    def worth(self, base: int) -> Sequence[float]:
        """Loss by tier if the base is warm and ends; gain if it is cold and starts alone."""
        worth: list[float] = self._worth[base].tolist()
        return worth

    def _of(self, *, warm: bool) -> Floats:
        if not self._index.steps_on:
            return self._worth  # nothing but zeros
        worth: Floats = np.where((self._warm == warm)[:, None], self._worth, 0.0)
        return worth

    def _saved_ms(self, base: int, steps: Numbers, warm: Flags) -> Floats:
        """Time that the base takes off each step."""
        parts = self._index.step_parts[steps]
        cold = (parts >= 0) & ~warm[parts]
        ours = cold & (self._index.base[parts] == base)
        now_ms = np.where(cold, self.wait_ms[parts], 0.0)
        sign = 1.0 if warm[base] else -1.0
        other_ms = now_ms + sign * np.where(ours, self._own_ms[base], 0.0)
        without, with_it = (other_ms, now_ms) if warm[base] else (now_ms, other_ms)
        saved_ms: Floats = without.max(axis=1) - with_it.max(axis=1)
        return saved_ms
