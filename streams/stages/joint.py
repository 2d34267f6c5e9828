"""What warm constituents are worth together: a step is as fast as its slowest cold part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from streams.stages.critical_path import Steps, first_uses

__all__ = ["Joint", "Parts", "Worth", "layers_of", "slowest_first"]

Parts = frozenset[str]
Worth = dict[str, float]  # by the tier whose requests profit, in the unit of the prices


def slowest_first(steps: Steps, wait_ms: Mapping[str, float]) -> list[list[str]]:
    """The parts of each step that take a time to start, the slowest first."""
    return [
        sorted((p for p in step if wait_ms.get(p, 0.0) > 0), key=lambda p: (-wait_ms[p], p))
        for step in first_uses(steps)
    ]


def layers_of(
    steps: Iterable[Sequence[str]],
    wait_ms: Mapping[str, float],
    first: Callable[[str], float],
) -> Iterable[tuple[Parts, float]]:
    """The critical path of a composite as layers: parts that must all be warm to save one.

    The slowest part of a step saves the time up to the second slowest, both together that up
    to the third, and so on: warming a part behind a slower cold one saves nothing.

    Parameters
    ----------
    steps
        As `slowest_first` has them.
    wait_ms
        Start-up time of each part.
    first
        Chance that a request of this composite is the first to need a part; that it finds
        several of them cold is no likelier than the least of these.

    Yields
    ------
    parts and float
        The parts of a layer, and the expected saving when all of them are warm, in ms.
    """
    for step in steps:
        chance = 1.0
        for i, part in enumerate(step, 1):
            chance = min(chance, first(part))
            if chance <= 0.0:
                break
            saved_ms = wait_ms[part] - (wait_ms[step[i]] if i < len(step) else 0.0)
            if saved_ms > 0.0:
                yield frozenset(step[:i]), chance * saved_ms


class Joint:
    """The worth of sets of warm parts, for all composites that share them.

    Parameters
    ----------
    layers
        What is gained when all parts of a set are warm.
    warm
        Parts that are.
    """

    def __init__(self, layers: Mapping[Parts, Worth], warm: Iterable[str]) -> None:
        # Numbered, so that sums are made in the same order wherever they are made.
        self._layers = list(layers.items())
        self._warm = set(warm)
        self._of: defaultdict[str, list[int]] = defaultdict(list)
        for i, parts in enumerate(layers):
            for part in parts:
                self._of[part].append(i)

    def missing(self, near: Iterable[str] | None = None) -> list[Parts]:
        """For each layer the parts that are not warm; of all, or of those with a part near."""
        layers = range(len(self._layers)) if near is None else self._touched(near)
        found = {self._layers[i][0] - self._warm for i in layers}
        return sorted(found - {frozenset()}, key=sorted)

    def gain(self, parts: Parts) -> Worth:
        """What is gained when these parts become warm too."""
        return self._total(parts, self._warm | parts)

    def loss(self, part: str) -> Worth:
        """What is lost when this warm part is no more."""
        return self._total([part], self._warm)

    def add(self, parts: Iterable[str]) -> None:
        """Count these parts as warm from now on."""
        self._warm.update(parts)

    def remove(self, part: str) -> None:
        """Count a part as warm no more."""
        self._warm.discard(part)

    def _touched(self, parts: Iterable[str]) -> list[int]:
        return sorted({i for part in parts for i in self._of.get(part, ())})

    def _total(self, parts: Iterable[str], there: AbstractSet[str]) -> Worth:
        total: Worth = {}
        for i in self._touched(parts):
            layer, worth = self._layers[i]
            if layer <= there:
                for tier, value in worth.items():
                    total[tier] = total.get(tier, 0.0) + value
        return total
