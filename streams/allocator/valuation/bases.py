"""Layers: what a warm base saves those that start from it, and what it costs to have none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.allocator.valuation.catalog_index import Anatomy, Asked, Numbers
from streams.allocator.valuation.tail_probability import Floats

__all__ = ["Bases"]


class Bases:
    """The bases of a catalogue, as they are warm or cold.

    A start from a cold base takes the base's own start first. So a base and what starts from it
    stand for each other, where the parts of a step complete each other: it is worth what the
    cold parts would be waited for less, and nothing once they are warm.

    Parameters
    ----------
    warm_up_ms
        Start-up time of each constituent from a warm base.
    asked
        Requests within the horizon.
    trust
        Of each constituent, see `Levels`: what a base saves is trusted as the part it saves it
        for.
    warm
        Whether each constituent has an instance. While no base comes or goes this object may be
        kept; what is worth something else then is to be weighed again.

    Attributes
    ----------
    wait_ms
        What a start takes of each constituent, with that of its base when this is cold.
    requests
        Of each base, how many requests it is of use to.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        warm_up_ms: Floats,
        asked: Asked,
        trust: Floats,
        warm: Sequence[bool],
    ) -> None:
        self._anatomy, self._own_ms, self._warm = anatomy, warm_up_ms, warm
        self._asked, self._trust = asked, trust
        self._cold = (anatomy.base >= 0) & ~np.array(warm, np.bool_)[anatomy.base]
        self._any_cold = bool(self._cold.any())
        self.wait_ms = self.with_base(warm_up_ms)
        self._worth = np.zeros((len(warm), len(anatomy.tiers)))
        self.requests = np.zeros(len(warm))
        self.weigh(anatomy.steps_on)

    def with_base(self, ms: Floats) -> Floats:
        """Of each constituent this time, and that of its base where it is cold."""
        if not self._any_cold:
            return ms
        longer: Floats = ms + np.where(self._cold, ms[self._anatomy.base], 0.0)
        return longer

    def under(self, parts: Iterable[int]) -> set[int]:
        """The cold bases that these parts start from."""
        if not self._any_cold:
            return set()
        return {int(self._anatomy.base[part]) for part in parts if self._cold[part]}

    def weigh(self, bases: Iterable[int]) -> None:
        """Value these bases, as what starts from them is warm or cold."""
        anatomy, warm = self._anatomy, np.array(self._warm, np.bool_)
        for base in bases:
            steps = anatomy.steps_on[base]
            saved_ms, part = self._saved_ms(base, steps, warm)
            mean = self._asked.mean[anatomy.step_service[steps]]
            trusted = (saved_ms * self._trust[part]) @ mean
            self._worth[base] = trusted / 1000 * anatomy.weight
            self.requests[base] = mean[saved_ms > 0.0].sum()

    def gains(self) -> Floats:
        """What each cold base brings alone: a row per constituent, by tier."""
        return self._of(warm=False)

    def losses(self) -> Floats:
        """What is lost with each warm base, in the same shape."""
        return self._of(warm=True)

    def worth(self, base: int) -> Sequence[float]:
        """Of a warm one, what would be lost with it; of a cold one, what it would bring alone."""
        worth: list[float] = self._worth[base].tolist()
        return worth

    def _of(self, *, warm: bool) -> Floats:
        worth: Floats = np.where((np.array(self._warm) == warm)[:, None], self._worth, 0.0)
        return worth

    def _saved_ms(
        self, base: int, steps: Numbers, warm: NDArray[np.bool_]
    ) -> tuple[Floats, Numbers]:
        """What the base takes off the critical path of each step, and its slowest part without."""
        parts = self._anatomy.step_parts[steps]
        cold = (parts >= 0) & ~warm[parts]
        ours = cold & (self._anatomy.base[parts] == base)
        now_ms = np.where(cold, self.wait_ms[parts], 0.0)
        sign = 1.0 if warm[base] else -1.0
        other_ms = now_ms + sign * np.where(ours, self._own_ms[base], 0.0)
        without, with_it = (other_ms, now_ms) if warm[base] else (now_ms, other_ms)
        slowest = without.argmax(axis=1)
        return without.max(axis=1) - with_it.max(axis=1), parts[np.arange(len(parts)), slowest]
