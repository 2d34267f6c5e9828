"""What to start: wants by value and cost, revalued as the others are granted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from streams.allocator.economy import InstanceEconomy
from streams.allocator.packing import InstanceWant, PackingChoice
from streams.allocator.valuation.catalog_index import share_of
from streams.allocator.valuation.joint import Parts
from streams.records.catalog import Constituent, Tier

__all__ = ["InstanceWants"]


class InstanceWants:
    """The wants of a pool: sets of first instances, and further ones, that are worth their start.

    Parameters
    ----------
    patience
        Weight of what has waited, by constituent.
    """

    def __init__(self, economy: InstanceEconomy, patience: Mapping[str, float]) -> None:
        self._economy, self._patience = economy, patience
        self._index = economy.index
        self._shares = self._index.shares(economy.view.capacity)

    def initial(self) -> Iterator[InstanceWant]:
        """Whatever would pay, and pins."""
        economy = self._economy
        for part in economy.too_few():
            yield from self._further(part, economy.have[part] + 1)
        for part in economy.first_pays():
            yield from self._first(frozenset((part,)))
        for parts in economy.candidates():
            yield from self._first(parts)
        for part in economy.further_may_pay():
            yield from self._further(part, economy.have[part] + 1)

    def then(self, choice: PackingChoice) -> Iterator[InstanceWant]:
        """Account for a granted choice; yields the wants that are new or revalued since."""
        number = self._index.number
        first = [number[service] for service, k in choice.want.parts if k == 1]
        lost = [number[victim.service] for victim in choice.taken if victim.k == 1]
        for parts in self._economy.revalued(first, lost):
            yield from self._first(parts)
        for name, k in choice.want.parts:
            self._economy.start_from_base(number[name])
            yield from self._further(number[name], k + 1)

    def _first(self, parts: Parts) -> Iterator[InstanceWant]:
        economy = self._economy
        if any(economy.least[part] for part in parts):
            return
        worth = economy.first_worth(parts)
        parts |= economy.bases_under(parts)
        if not all(economy.most[part] for part in parts):
            return
        value = sum(worth)
        if value > economy.start_costs(parts):
            is_base = self._index.steps_on.keys()  # bases first: the others start from them
            first = sorted(parts, key=lambda part: (part not in is_base, part))
            yield self._want([(part, 1) for part in first], value, worth)

    def _further(self, part: int, k: int) -> Iterator[InstanceWant]:
        """The want for the k-th instance if it pays or is pinned."""
        economy = self._economy
        pinned = k <= economy.least[part]
        if (k == 1 and not pinned) or k > economy.most[part]:
            return
        under = economy.bases_under([part])
        worth = economy.further_worth(part, k)
        value = sum(worth)
        if pinned or value > economy.start_costs((*under, part)):
            parts = [*((base, 1) for base in under), (part, k)]
            yield self._want(parts, value, worth, pinned=pinned)

    def _want(
        self,
        parts: Sequence[tuple[int, int]],
        value: float,
        worth: Sequence[float],
        *,
        pinned: bool = False,
    ) -> InstanceWant:
        constituents = [self._index.constituents[part] for part, _ in parts]
        needs, share = constituents[0].needs, self._shares[parts[0][0]]
        for other in constituents[1:]:
            needs += other.needs
            share = share_of(needs, self._economy.view.capacity)
        tier = self._economy.top_tier(worth)
        return InstanceWant(
            parts=tuple([(c.service, k) for c, (_, k) in zip(constituents, parts, strict=True)]),
            needs=needs,
            price=sum([c.price for c in constituents]),
            value=value,
            cost=self._economy.start_costs([part for part, _ in parts]),
            priority=tier.priority,
            tier=tier.tier,
            pinned=pinned,
            share=share,
            patience=self._patience_of(constituents, tier),
            on=self._bases_of([part for part, _ in parts]),
        )

    def _bases_of(self, parts: Sequence[int]) -> tuple[str, ...]:
        """The bases of these that are not among them, and so are there."""
        if not self._index.steps_on:
            return ()
        bases = set(self._index.base[list(parts)].tolist()) - {-1, *parts}
        return tuple(sorted(self._index.constituents[base].service for base in bases))

    def _patience_of(self, constituents: Sequence[Constituent], tier: Tier) -> float:
        """Weight of a want that has waited; 1 where no tier is before its own."""
        if tier.priority >= self._index.tiers[0].priority:
            return 1.0
        return max([self._patience.get(c.service, 1.0) for c in constituents])
