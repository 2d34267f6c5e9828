"""What the first instances of constituents are worth: those of a step together, and on what base."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.allocator.valuation.bases import Bases
from streams.allocator.valuation.catalog_index import Anatomy, Asked
from streams.allocator.valuation.joint import Joint, Parts, layers_worth
from streams.allocator.valuation.paths import Paths
from streams.allocator.valuation.tail_probability import Floats

__all__ = ["Firsts"]


class Firsts:
    """The worth of sets of first instances, bases among them; see `Joint` and `Bases`.

    Parameters
    ----------
    warm_up_ms
        Start-up time of each constituent from a warm base.
    asked
        Requests within the horizon.
    trust
        Of each constituent, see `Levels`.
    warm
        Whether each constituent has an instance, or one is under way; this object changes it.

    Attributes
    ----------
    bases, paths
        As they stand.
    """

    def __init__(
        self, anatomy: Anatomy, warm_up_ms: Floats, asked: Asked, trust: Floats, warm: list[bool]
    ) -> None:
        self._anatomy, self._own_ms = anatomy, warm_up_ms
        self._asked, self._trust, self._warm = asked, trust, warm
        self._weigh()

    def singles(self) -> Floats:
        """What each cold constituent brings alone, 0 of a warm one: shape (constituents, tiers)."""
        return self._joint.singles() + self.bases.gains()

    def candidates(self, cost: Floats) -> list[Parts]:
        """Sets of several cold parts of a step that may pay; see `Joint.candidates`."""
        return self._joint.candidates(cost)

    def missing(self, near: Iterable[int]) -> list[Parts]:
        """Sets of cold parts that may be worth something else since these came or went."""
        near = set(near)
        bases = self._anatomy.bases_near(near)
        alone = [frozenset((base,)) for base in sorted(bases) if not self._warm[base]]
        return [*self._joint.missing(near | self._anatomy.on(bases & near)), *alone]

    def gain(self, parts: Parts) -> Sequence[float]:
        """What is gained when these cold parts become warm too, by tier."""
        if len(parts) == 1 and parts <= self._anatomy.steps_on.keys():
            return self.bases.worth(*parts)
        return self._joint.gain(parts)

    def losses(self) -> Floats:
        """What is lost when each warm part is no more: a row per constituent, by tier."""
        return self._joint.losses() + self.bases.losses()

    def lost(self, part: int) -> Sequence[float]:
        """The same of one constituent."""
        is_base = part in self._anatomy.steps_on
        return self.bases.worth(part) if is_base else self._joint.lost(part)

    def set(self, parts: Iterable[int], *, warm: bool) -> None:
        """Count these parts as warm, or as warm no more, from now on."""
        parts = set(parts)
        self._joint.set(parts, warm=warm)
        if self._anatomy.steps_on.keys() & parts:
            self._weigh()
        else:
            self.bases.weigh(self._anatomy.bases_near(parts))

    def _weigh(self) -> None:
        self.bases = Bases(self._anatomy, self._own_ms, self._asked, self._trust, self._warm)
        self.paths = Paths(self._anatomy, self.bases.wait_ms)
        worth = layers_worth(self._anatomy, self.paths, self._asked, self._trust)
        self._joint = Joint(self._anatomy, self.paths, worth, self._warm)
