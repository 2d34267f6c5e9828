"""Values and costs of a pool's instances under the current demand."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from streams.allocator.packing import START, IdleInstance, InstanceWant, PackingChoice
from streams.allocator.valuation.catalog_index import NOBODY, share_of
from streams.allocator.valuation.first_instances import FirstInstances
from streams.allocator.valuation.joint import Parts
from streams.allocator.valuation.levels import InstanceLevels
from streams.allocator.valuation.occupancy import Floats
from streams.allocator.view import PoolView
from streams.records.catalog import Constituent, Tier

__all__ = ["HOUR_MS", "InstanceEconomy"]

HOUR_MS = 3_600_000
NOTHING = (0.0,)


class InstanceEconomy:
    """Values and costs of starting, keeping and giving up instances.

    First instances are valued jointly (see `FirstInstances`), further ones independently: a
    request that finds all instances of one constituent busy finds those of the others busy too.
    Constituents are identified by their number in `view.index`.

    Parameters
    ----------
    price
        Multiplier on the price of warm time.

    Attributes
    ----------
    have, idle
        Instances that exist or are under way; of them, those that may be released.
    keep_cost, start_cost
        Cost of keeping one instance for the horizon; least value for which one is started.
    """

    def __init__(
        self,
        view: PoolView,
        horizon_ms: int,
        most: int,
        *,
        patience: Mapping[str, float],
        held: Container[str],
        limits: Mapping[str, tuple[int, int | None]],
        price: float = 1.0,
    ) -> None:
        index = self.index = view.index
        self.view, self.horizon_ms = view, horizon_ms
        self._patience, self._held = patience, held
        self._have = view.have
        self._last: Floats | None = None  # see `last_value`; until another start is decided
        self._least = index.counts({name: low for name, (low, _) in limits.items()})
        self._most = np.full(len(index.constituents), most)
        for name, (_, high) in limits.items():
            if high is not None and name in index.number:
                self._most[index.number[name]] = high
        self.least: list[int] = self._least.tolist()
        self.most: list[int] = self._most.tolist()
        self.have: list[int] = self._have.tolist()
        self.idle: list[int] = view.idle.tolist()
        self.keep_cost: Floats = index.price * (price * horizon_ms / HOUR_MS)
        self.start_cost: Floats = START * self.keep_cost
        self._firsts = FirstInstances(
            index, view.timing.warm_up_ms, view.asked, self.start_cost, (self._have > 0).tolist()
        )
        self._demanded = self._firsts.values  # before anything is decided
        self.levels = InstanceLevels(
            self._demanded,
            index,
            serving=view.timing.serve_ms / horizon_ms,
            most=most,
            enough=self.keep_cost / 2,
        )

    def wants(self) -> Iterator[InstanceWant]:
        """The initial wants: whatever would pay, and pins."""
        for part in (self._least > self._have).nonzero()[0].tolist():
            yield from self._further(part, self.have[part] + 1)
        pays = (self._firsts.gains() > self.start_cost).nonzero()[0].tolist()
        for part, worth in zip(
            pays, self._firsts.alone()[pays].tolist() if pays else (), strict=True
        ):
            yield from self._first(frozenset((part,)), worth)
        for parts in self._firsts.candidates():
            yield from self._first(parts, self._firsts.gain(parts))
        may = self.levels.may_pay(self.start_cost) & (self._have >= np.maximum(1, self._least))
        found = may.nonzero()[0].tolist()
        self.levels.look_up(found)
        for part in found:
            yield from self._further(part, self.have[part] + 1)

    def existing(self) -> dict[str, int]:
        """Instances that exist or are under way, by name."""
        constituents = self.index.constituents
        return {c.service: n for c, n in zip(constituents, self.have, strict=True) if n}

    def then(self, choice: PackingChoice) -> Iterator[InstanceWant]:
        """Account for a granted choice; yields the wants that are new or revalued since."""
        number = self.index.number
        first = [number[service] for service, k in choice.want.parts if k == 1]
        lost = [number[victim.service] for victim in choice.taken if victim.k == 1]
        self._last = None
        if lost:
            self._firsts.set(lost, warm=False)
        if first:
            self._firsts.set(first, warm=True)
        for parts in self._firsts.missing([*first, *lost]):
            yield from self._first(parts, self._firsts.gain(parts))
        for name, k in choice.want.parts:
            base = int(self.index.base[number[name]])
            if base >= 0:
                self.idle[base] = 0  # the constituent will start from it
            yield from self._further(number[name], k + 1)

    def kept(self, part: int, k: int) -> tuple[float, Tier]:
        """Value of keeping the k-th instance, and the tier that it is mostly for."""
        if k == 1:
            worth = self._firsts.lost(part)
            return sum(worth), self._top(worth)
        level = self.levels.level(part, k)
        return (level.value, self._top(level.worth)) if level else (0.0, NOBODY)

    def chance(self, part: int, k: int) -> float:
        """Probability that the k-th instance is used within the horizon."""
        if k == 1:
            bases = self._firsts.bases.requests
            is_base = part in self.index.steps_on
            uses = bases[part] if is_base else self._demanded.uses[part].sum()
            return -math.expm1(-float(uses))
        level = self.levels.level(part, k)
        return level.chance if level else 0.0

    def first_value(self) -> Floats:
        """Value of a first instance of each constituent if it were started now."""
        return self._firsts.worth()

    def last_value(self) -> Floats:
        """Value of the last instance of each constituent; 0 where there is none."""
        if self._last is None:
            self._last = np.where(self._have == 1, self._firsts.losses(), 0.0)
            several = (self._have > 1).nonzero()[0].tolist()
            self.levels.look_up(several)
            for part in several:
                level = self.levels.level(part, self.have[part])
                self._last[part] = level.value if level else 0.0
        return self._last

    def doubtful(self, share: float) -> list[int]:
        """Constituents with an idle instance above their maximum, or worth too little.

        Parameters
        ----------
        share
            Fraction of the keeping cost below which an instance is worth too little.
        """
        low = (self.last_value() < self.keep_cost * share) | (self._have > self._most)
        found: list[int] = (low & (np.array(self.idle) > 0)).nonzero()[0].tolist()
        return found

    def spare(self) -> Iterator[IdleInstance]:
        """Idle instances that may be preempted; those started for a starved want may not."""
        for part in np.array(self.idle).nonzero()[0].tolist():
            constituent = self.index.constituents[part]
            if constituent.service in self._held:
                continue
            for k in range(self.have[part], self._kept_back(part), -1):
                value, tier = self.kept(part, k)
                yield IdleInstance(
                    service=constituent.service,
                    k=k,
                    needs=constituent.needs,
                    price=constituent.price,
                    value=value,
                    priority=tier.priority,
                    tier=tier.tier,
                )

    def worthless(self, part: int, taken: int, share: float) -> Iterator[float]:
        """Values of the idle instances to release, after `taken` have been preempted.

        These are the instances above the operator's maximum and those worth less than `share` of
        their keeping cost.
        """
        limit = self.keep_cost[part] * share
        for k in range(self.have[part] - taken, self._kept_back(part), -1):
            value, _ = self.kept(part, k)
            if value >= limit and k <= self.most[part]:
                return
            yield value

    def held_for(self) -> Iterator[tuple[str, Constituent]]:
        """All instances, those under way included, each with the tier that it is mostly for."""
        for part in self._have.nonzero()[0].tolist():
            for k in range(1, self.have[part] + 1):
                yield self.kept(part, k)[1].tier, self.index.constituents[part]

    def _kept_back(self, part: int) -> int:
        """Instances that must stay: pinned ones and those that are not idle."""
        return max(self.least[part], self.have[part] - self.idle[part])

    def _top(self, worth: Sequence[float]) -> Tier:
        """The highest tier that, with those above it, accounts for half of the value."""
        left = sum(worth) / 2
        for tier, value in zip(self.index.tiers, worth, strict=True):
            left -= value
            if left <= 0 < value:
                return tier
        return NOBODY

    def _first(self, parts: Parts, worth: Sequence[float]) -> Iterator[InstanceWant]:
        if any(self.least[part] for part in parts):
            return
        parts |= self._firsts.bases.under(parts)
        if not all(self.most[part] for part in parts):
            return
        value = sum(worth)
        if value > sum([self._start_cost[part] for part in parts]):
            is_base = self.index.steps_on.keys()  # bases first: the others start from them
            first = sorted(parts, key=lambda part: (part not in is_base, part))
            yield self._want([(part, 1) for part in first], value, worth)

    def _further(self, part: int, k: int) -> Iterator[InstanceWant]:
        """The want for the k-th instance if it pays or is pinned."""
        pinned = k <= self.least[part]
        if (k == 1 and not pinned) or k > self.most[part]:
            return
        under = self._firsts.bases.under([part])
        level = self.levels.level(part, k)
        worth = level.worth if level else NOTHING * len(self.index.tiers)
        value = sum(worth)
        if pinned or value > sum([self._start_cost[each] for each in (*under, part)]):
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
        constituents = [self.index.constituents[part] for part, _ in parts]
        needs, share = constituents[0].needs, self._shares[parts[0][0]]
        for other in constituents[1:]:
            needs += other.needs
            share = share_of(needs, self.view.capacity)
        tier = self._top(worth)
        return InstanceWant(
            parts=tuple([(c.service, k) for c, (_, k) in zip(constituents, parts, strict=True)]),
            needs=needs,
            price=sum([c.price for c in constituents]),
            value=value,
            cost=sum([self._start_cost[part] for part, _ in parts]),
            priority=tier.priority,
            tier=tier.tier,
            pinned=pinned,
            share=share,
            patience=self._patience_of(constituents, tier),
        )

    def _patience_of(self, constituents: Sequence[Constituent], tier: Tier) -> float:
        """Weight of a want that has waited; 1 where no tier is before its own."""
        if tier.priority >= self.index.tiers[0].priority:
            return 1.0
        return max([self._patience.get(c.service, 1.0) for c in constituents])

    @cached_property
    def _shares(self) -> Sequence[float]:
        return self.index.shares(self.view.capacity)

    @cached_property
    def _start_cost(self) -> list[float]:
        found: list[float] = self.start_cost.tolist()
        return found
