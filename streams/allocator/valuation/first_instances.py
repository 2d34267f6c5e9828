"""Value of the first instances of constituents: jointly within a step, and with their bases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.allocator.valuation.bases import WarmBases
from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.joint import JointWorth, Parts
from streams.allocator.valuation.occupancy import Floats
from streams.allocator.valuation.step_values import Flags, StepValues

__all__ = ["FirstInstances"]


class FirstInstances:
    """Value of sets of first instances, bases included; see `JointWorth` and `WarmBases`.

    Parameters
    ----------
    warm_up_ms
        Start-up time of each constituent on a warm base.
    asked
        Expected requests within the horizon: composites x tiers.
    cost
        Of starting each constituent.
    warm
        Per constituent whether an instance exists or is under way; owned and updated by this object.

    Attributes
    ----------
    bases
        Recomputed whenever a base starts or ends.
    """

    def __init__(
        self,
        index: CatalogIndex,
        warm_up_ms: Floats,
        asked: Floats,
        cost: Floats,
        warm: Flags,
    ) -> None:
        self._index, self._own_ms = index, warm_up_ms
        self._asked, self._cost, self._warm = asked, cost, warm
        self._weigh()

    @property
    def values(self) -> StepValues:
        """The values of each constituent alone, given what is warm now."""
        return self._joint.values

    def alone(self) -> Floats:
        """Gain by tier of each cold constituent alone; a row per constituent, 0 for warm ones."""
        return self.values.alone + self.bases.gains()

    def gains(self) -> Floats:
        """Gain of each cold constituent alone; 0 for warm ones."""
        return self._with(self.values.gain, self.bases.gains())

    def candidates(self) -> list[Parts]:
        """Sets of cold constituents of a step that may pay together; see `JointWorth.candidates`."""
        return self._joint.candidates()

    def missing(self, near: Iterable[int]) -> list[Parts]:
        """Sets of cold constituents whose value may have changed since these started or ended."""
        near = set(near)
        bases = self._index.bases_near(near)
        alone = [frozenset((base,)) for base in sorted(bases) if not self._warm[base]]
        return [*self._joint.missing(near | self._index.on(bases & near)), *alone]

    def gain(self, parts: Parts) -> Sequence[float]:
        """Gain by tier if these cold constituents become warm too."""
        if len(parts) == 1 and parts <= self._index.steps_on.keys():
            return self.bases.worth(*parts)
        return self._joint.gain(parts)

    def losses(self) -> Floats:
        """Loss if one warm constituent ends, by constituent."""
        return self._with(self.values.loss, self.bases.losses())

    def worth(self) -> Floats:
        """Value of all that each constituent would save if it were warm."""
        return self._with(self.values.worth, self.bases.gains())

    def lost(self, part: int) -> Sequence[float]:
        """Loss by tier if this constituent ends."""
        is_base = part in self._index.steps_on
        return self.bases.worth(part) if is_base else self._joint.lost(part)

    def set(self, parts: Iterable[int], *, warm: bool) -> None:
        """Mark these constituents as warm or cold."""
        parts = set(parts)
        self._joint.set(parts, warm=warm)
        if self._index.steps_on.keys() & parts:
            self._weigh()
        else:
            self.bases.weigh(self._index.bases_near(parts))

    def _with(self, value: Floats, of_bases: Floats) -> Floats:
        """A value with that of bases, which is by tier."""
        if not self._index.steps_on:
            return value
        total: Floats = value + of_bases.sum(axis=1)
        return total

    def _weigh(self) -> None:
        self.bases = WarmBases(self._index, self._own_ms, self._asked, self._warm)
        wait_ms = self.bases.wait_ms
        self._joint = JointWorth(self._index, wait_ms, self._asked, self._cost, self._warm)
