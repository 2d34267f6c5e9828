"""What instances of a pool are worth and what they cost, as the demand stands."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from streams.allocator.packing import Choice, Idle, Want
from streams.allocator.valuation.catalog_index import NOBODY, share_of
from streams.allocator.valuation.first_instances import Firsts
from streams.allocator.valuation.joint import Parts
from streams.allocator.valuation.levels import Levels, uses_of
from streams.allocator.valuation.tail_probability import Floats
from streams.allocator.view import PoolView
from streams.records.catalog import Constituent, Tier

__all__ = ["HOUR_MS", "Economy"]

HOUR_MS = 3_600_000
NOTHING = (0.0,)


class Economy:
    """Values and costs of starting, keeping and giving up instances.

    The first instances of the constituents are valued jointly (see `Firsts`), further ones each
    by itself: a request that finds all instances of one part busy finds those of the others so.
    Constituents go by the numbers of `view.anatomy`.

    Parameters
    ----------
    price
        Times its price that warm time counts.

    Attributes
    ----------
    have, idle
        Instances there or under way; of them, those that may be released.
    keep_cost, start_cost
        Of one instance kept for the horizon; of one started now and kept for it.
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
        anatomy = self.anatomy = view.anatomy
        self.view, self.horizon_ms = view, horizon_ms
        self._patience, self._held = patience, held
        self.least: list[int] = anatomy.counts({n: low for n, (low, _) in limits.items()}).tolist()
        self.most = [most] * len(anatomy.constituents)
        for name, (_, high) in limits.items():
            if high is not None and name in anatomy.number:
                self.most[anatomy.number[name]] = high
        self.keep_cost: Floats = price * anatomy.price * horizon_ms / HOUR_MS
        start_ms: Floats = horizon_ms + view.timing.ready_ms
        self.start_cost: Floats = price * anatomy.price * start_ms / HOUR_MS
        self.have: list[int] = anatomy.counts(view.have).tolist()
        warm = [count > 0 for count in self.have]
        self._firsts = Firsts(anatomy, view.timing.warm_up_ms, view.asked, view.trust, warm)
        self.uses = uses_of(view.asked, anatomy, self._firsts.paths)
        self.levels = Levels(
            self.uses,
            anatomy,
            overlap=np.minimum(1.0, view.timing.serve_ms / horizon_ms),
            most=most,
            enough=self.keep_cost / 2,
            trust=view.trust,
        )
        idle = np.minimum(anatomy.counts(view.idle), self.have)
        self.idle: list[int] = idle.tolist()

    def wants(self) -> Iterator[Want]:
        """All that would pay or is pinned, to begin with."""
        for part in np.flatnonzero(np.array(self.least) > self.have).tolist():
            yield from self._further(part, self.have[part] + 1)
        alone = self._firsts.singles()
        pays = np.flatnonzero(alone.sum(axis=1) * self.lead > self.start_cost)
        for part, worth in zip(pays.tolist(), alone[pays].tolist(), strict=True):
            yield from self._first(frozenset((part,)), worth)
        for parts in self._firsts.candidates(self.start_cost):
            yield from self._first(parts, self._firsts.gain(parts))
        have = np.array(self.have, np.int64)
        may = (have > 0) & (have < self.levels.value.shape[1])
        value = self.levels.value[np.arange(len(have)), np.where(may, have, 0)]
        may &= (value * self.lead > self.start_cost) & (have >= np.array(self.least))
        pays = np.flatnonzero(may)
        worths = self.levels.worths(pays, have[pays] + 1)
        for part, worth in zip(pays.tolist(), worths, strict=True):
            yield from self._further(part, self.have[part] + 1, worth)

    def then(self, choice: Choice) -> Iterator[Want]:
        """Take a grant in: what would pay since."""
        number = self.anatomy.number
        first = [number[service] for service, k in choice.want.parts if k == 1]
        lost = [number[victim.service] for victim in choice.taken if victim.k == 1]
        if lost:
            self._firsts.set(lost, warm=False)
        if first:
            self._firsts.set(first, warm=True)
        for parts in self._firsts.missing([*first, *lost]):
            yield from self._first(parts, self._firsts.gain(parts))
        for name, k in choice.want.parts:
            yield from self._further(number[name], k + 1)

    def kept(self, part: int, k: int) -> tuple[float, Tier]:
        """What the k-th instance is worth when it is warm already, and to whom."""
        if k == 1:
            worth = self._firsts.lost(part)
            return sum(worth), self._top(worth)
        level = self.levels.level(part, k)
        return (level.value, self._top(level.worth)) if level else (0.0, NOBODY)

    def chance(self, part: int, k: int) -> float:
        """Probability that the k-th instance is used within the horizon."""
        if k == 1 and part in self.anatomy.steps_on:
            return -math.expm1(-float(self._firsts.bases.requests[part]))
        level = self.levels.level(part, k)
        return level.chance if level else 0.0

    def first_value(self) -> Floats:
        """What the first instance of each constituent would bring, started now."""
        value: Floats = self.levels.value[:, 0] + self._firsts.bases.gains().sum(axis=1)
        return value * self.lead

    def last_value(self) -> Floats:
        """What the last instance of each constituent is worth; 0 where there is none."""
        have = np.array(self.have, np.int64)
        most = self.levels.value.shape[1]
        further = self.levels.value[np.arange(len(have)), np.clip(have, 1, most) - 1]
        one = self._firsts.losses().sum(axis=1)
        value: Floats = np.where(have == 1, one, np.where(have <= most, further, 0.0))
        return np.where(have > 0, value, 0.0)

    def doubtful(self, share: float) -> list[int]:
        """Constituents whose last idle instance is not allowed, or worth less than this share.

        Parameters
        ----------
        share
            Of what keeping one costs.
        """
        low = self.last_value() < self.keep_cost * share
        low |= np.array(self.have) > np.array(self.most)
        found: list[int] = np.flatnonzero((np.array(self.idle) > 0) & low).tolist()
        return found

    def spare(self) -> Iterator[Idle]:
        """What could be taken away: not what was started for somebody who had waited long."""
        for part in np.flatnonzero(self.idle).tolist():
            constituent = self.anatomy.constituents[part]
            if constituent.service in self._held:
                continue
            for k in range(self.have[part], self._kept_back(part), -1):
                value, tier = self.kept(part, k)
                yield Idle(
                    service=constituent.service,
                    k=k,
                    needs=constituent.needs,
                    price=constituent.price,
                    value=value,
                    priority=tier.priority,
                    tier=tier.tier,
                )

    def worthless(self, part: int, taken: int, share: float) -> Iterator[float]:
        """What the idle instances are worth that are to go, when so many have been taken.

        They are those above what an operator allows, and those that are worth less than this
        share of keeping them.
        """
        limit = self.keep_cost[part] * share
        for k in range(self.have[part] - taken, self._kept_back(part), -1):
            value, _ = self.kept(part, k)
            if value >= limit and k <= self.most[part]:
                return
            yield value

    def held_for(self) -> Iterator[tuple[str, Constituent]]:
        """All that there is or comes, each with the tier that it is mostly for."""
        for part in np.flatnonzero(self.have).tolist():
            for k in range(1, self.have[part] + 1):
                yield self.kept(part, k)[1].tier, self.anatomy.constituents[part]

    @cached_property
    def lead(self) -> Floats:
        """Part of the saving that a start made now still brings, of each constituent.

        Requests come evenly over the horizon; one that comes while the instance starts is
        spared only the part of the start that has passed.
        """
        ready_ms = self._firsts.bases.with_base(self.view.timing.ready_ms)
        horizon_ms = self.horizon_ms
        soon = 1 - ready_ms / (2 * horizon_ms)
        late = horizon_ms / (2 * np.maximum(ready_ms, horizon_ms))
        lead: Floats = np.where(ready_ms <= horizon_ms, soon, late)
        return lead

    def _kept_back(self, part: int) -> int:
        """How many instances are not to be given away: they are pinned, or not idle."""
        return max(self.least[part], self.have[part] - self.idle[part])

    def _top(self, worth: Sequence[float]) -> Tier:
        """The highest tier for which, with those above it, at least half of the worth is."""
        left = sum(worth) / 2
        for tier, value in zip(self.anatomy.tiers, worth, strict=True):
            left -= value
            if left <= 0 < value:
                return tier
        return NOBODY

    def _first(self, parts: Parts, worth: Sequence[float]) -> Iterator[Want]:
        if any(self.least[part] for part in parts):
            return
        parts |= self._firsts.bases.under(parts)
        if not all(self.most[part] for part in parts):
            return
        value = sum(worth) * min([self._lead[part] for part in parts])
        if value > sum([self._start_cost[part] for part in parts]):
            is_base = self.anatomy.steps_on.keys()  # these come first: others start from them
            first = sorted(parts, key=lambda part: (part not in is_base, part))
            yield self._want([(part, 1) for part in first], value, worth)

    def _further(self, part: int, k: int, worth: Sequence[float] = ()) -> Iterator[Want]:
        """The k-th instance, if it pays or is pinned; what it is worth is looked up if not given."""
        pinned = k <= self.least[part]
        if (k == 1 and not pinned) or k > self.most[part]:
            return
        under = self._firsts.bases.under([part])
        if not worth:
            level = self.levels.level(part, k)
            worth = level.worth if level else NOTHING * len(self.anatomy.tiers)
        value = sum(worth) * self._lead[part]
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
    ) -> Want:
        constituents = [self.anatomy.constituents[part] for part, _ in parts]
        needs, share = constituents[0].needs, self._shares[parts[0][0]]
        for other in constituents[1:]:
            needs += other.needs
            share = share_of(needs, self.view.capacity)
        tier = self._top(worth)
        return Want(
            parts=tuple([(c.service, k) for c, (_, k) in zip(constituents, parts, strict=True)]),
            needs=needs,
            price=sum([c.price for c in constituents]),
            value=value,
            cost=sum([self._start_cost[part] for part, _ in parts]),
            priority=tier.priority,
            tier=tier.tier,
            pinned=pinned,
            share=share,
            patience=max([self._patience.get(c.service, 1.0) for c in constituents]),
        )

    @cached_property
    def _shares(self) -> Sequence[float]:
        return self.anatomy.shares(self.view.capacity)

    @cached_property
    def _lead(self) -> list[float]:
        found: list[float] = self.lead.tolist()
        return found

    @cached_property
    def _start_cost(self) -> list[float]:
        found: list[float] = self.start_cost.tolist()
        return found
