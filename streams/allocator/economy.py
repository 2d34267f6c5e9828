"""Values and costs of a pool's instances under the current demand."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from streams.allocator.advice import KeepWarmAdvice
from streams.allocator.packing import START, IdleInstance
from streams.allocator.valuation.advised_values import told, told_one
from streams.allocator.valuation.catalog_index import NOBODY, CatalogIndex, Numbers
from streams.allocator.valuation.first_instances import FirstInstances
from streams.allocator.valuation.joint import Parts
from streams.allocator.valuation.levels import InstanceLevels, in_service_soon
from streams.allocator.valuation.occupancy import Floats
from streams.allocator.valuation.paying import (
    first_that_pay,
    further_that_may_pay,
    paying,
    worth_too_little,
)
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
    have
        Instances that exist or are under way.
    least, most
        Fewest and most, as an operator wants.
    keep_cost, start_cost
        Cost of keeping one instance for the horizon; least value for which one is started.
    """

    def __init__(
        self,
        view: PoolView,
        horizon_ms: int,
        most: int,
        *,
        held: Container[str],
        limits: Mapping[str, tuple[int, int | None]],
        price: float = 1.0,
    ) -> None:
        index = self.index = view.index
        self.view, self.horizon_ms = view, horizon_ms
        self._held = held
        self._have = view.have
        self._last: Floats | None = None  # see `last_value`; until another start is decided
        self.least, self.most = _bounds(index, most, limits)
        self.have: list[int] = self._have.tolist()
        self._idle = view.idle.copy()
        self.keep_cost: Floats = index.price * (price * horizon_ms / HOUR_MS)
        self.start_cost: Floats = START * self.keep_cost
        self._firsts = FirstInstances(
            index, view.timing.warm_up_ms, view.asked, self.start_cost, self._have > 0
        )
        self._demanded = self._firsts.values  # before anything is decided
        starting = view.timing.warm_up_ms / horizon_ms
        serving = view.timing.serve_ms / horizon_ms
        levels = partial(
            InstanceLevels,
            self._demanded,
            index,
            starting=starting,
            serving=serving,
            most=most,
            enough=self.keep_cost / 2,
        )
        soon = in_service_soon(view.busy, index.at_once, starting=starting, serving=serving)
        self.levels, self._starts = levels(), levels(soon=soon)
        self._advice = KeepWarmAdvice.none(len(index.constituents))

    def paying(self) -> Numbers:
        """Instances that pay by the demand alone, by constituent; before anything is decided."""
        costs = self.keep_cost, self.start_cost
        return paying(self._firsts, self.levels, self._starts, self._have, *costs)

    def heed(self, advice: KeepWarmAdvice) -> None:
        """Follow this advice from now on; before anything is decided."""
        self._advice, self._last = advice, None

    def too_few(self) -> list[int]:
        """Constituents with fewer instances than an operator wants."""
        found: list[int] = (self.least > self._have).nonzero()[0].tolist()
        return found

    def first_pays(self) -> list[int]:
        """Constituents without an instance of which one alone is worth its start."""
        gains = self._told_first(self._firsts.gains())
        return first_that_pay(self._have, gains, self.start_cost)

    def candidates(self) -> Iterator[Parts]:
        """Sets of several constituents without an instance that may pay together."""
        return self._not_against(self._firsts.candidates())

    def further_may_pay(self) -> list[int]:
        """Constituents of which one more instance may be worth its start."""
        advised = self._advice.to_start
        return further_that_may_pay(
            self._have, self.least, advised, self.levels.load, self.start_cost
        )

    def first_worth(self, parts: Parts) -> Sequence[float]:
        """Value by tier if these constituents get their first instances."""
        worth = self._firsts.gain(parts)
        if len(parts) > 1:
            return worth
        (part,) = parts
        return self._told_worth(part, 1, worth, start=True)

    def further_worth(self, part: int, k: int) -> Sequence[float]:
        """Value by tier of starting the k-th instance."""
        return self._told_worth(part, k, self._worth_at(self._starts, part, k), start=True)

    def start_costs(self, parts: Iterable[int]) -> float:
        """Least value for which all of these are started."""
        return sum([float(self.start_cost[part]) for part in parts])

    def bases_under(self, parts: Iterable[int]) -> set[int]:
        """Bases without an instance that these constituents start from."""
        return self._firsts.bases.under(parts)

    def revalued(self, first: Sequence[int], lost: Sequence[int]) -> Sequence[Parts]:
        """Let first instances start and others end; sets whose value may have changed."""
        self._last = None
        if lost:
            self._firsts.set(lost, warm=False)
        if first:
            self._firsts.set(first, warm=True)
        return list(self._not_against(self._firsts.missing([*first, *lost])))

    def start_from_base(self, part: int) -> None:
        """Keep the base of a constituent that starts."""
        base = int(self.index.base[part])
        if base >= 0:
            self._idle[base] = 0

    def advised(self, part: int) -> int:
        """Instances that the past of a constituent advises to have by the time one is started."""
        return int(self._advice.to_start[part])

    def existing(self) -> dict[str, int]:
        """Instances that exist or are under way, by name."""
        constituents = self.index.constituents
        return {c.service: n for c, n in zip(constituents, self.have, strict=True) if n}

    def kept(self, part: int, k: int) -> tuple[float, Tier]:
        """Value of keeping the k-th instance, and the tier that it is mostly for."""
        worth = self._firsts.lost(part) if k == 1 else self._worth_at(self.levels, part, k)
        worth = self._told_worth(part, k, worth, start=False)
        return sum(worth), self.top_tier(worth)

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
        return self._told_first(self._firsts.worth())

    def last_value(self) -> Floats:
        """Value of the last instance of each constituent; 0 where there is none."""
        if self._last is None:
            self._last = np.where(self._have == 1, self._firsts.losses(), 0.0)
            several = (self._have > 1).nonzero()[0].tolist()
            for part in several:
                level = self.levels.level(part, self.have[part])
                self._last[part] = level.value if level else 0.0
            advised = self._advice.to_keep
            self._last = told(self._last, self._have, advised, self.keep_cost, self.keep_cost)
        return self._last

    def doubtful(self, share: float) -> list[int]:
        """Constituents with an idle instance above their maximum, or worth too little.

        Parameters
        ----------
        share
            Fraction of the keeping cost below which an instance is worth too little.
        """
        value = self.last_value()
        low = worth_too_little(self._have, self.most, value, self.keep_cost, share)
        return [part for part in low if self._idle[part]]

    def spare(self) -> Iterator[IdleInstance]:
        """Idle instances that may be preempted; those started for a starved want may not."""
        for part in self._idle.nonzero()[0].tolist():
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
        return max(int(self.least[part]), self.have[part] - int(self._idle[part]))

    def top_tier(self, worth: Sequence[float]) -> Tier:
        """The highest tier that, with those above it, accounts for half of the value."""
        left = sum(worth) / 2
        for tier, value in zip(self.index.tiers, worth, strict=True):
            left -= value
            if left <= 0 < value:
                return tier
        return NOBODY

    def _worth_at(self, levels: InstanceLevels, part: int, k: int) -> Sequence[float]:
        level = levels.level(part, k)
        return level.worth if level else NOTHING * len(self.index.tiers)

    def _not_against(self, found: Iterable[Parts]) -> Iterator[Parts]:
        """The sets without a constituent of which the advice is to start none."""
        advised = self._advice.to_start
        return (parts for parts in found if all(advised[part] for part in parts))

    def _told_first(self, value: Floats) -> Floats:
        return told(value, self.index.ones, self._advice.to_start, self.start_cost, self.keep_cost)

    def _told_worth(
        self, part: int, k: int, worth: Sequence[float], *, start: bool
    ) -> Sequence[float]:
        advised = self._advice.to_start if start else self._advice.to_keep
        keep_cost = float(self.keep_cost[part])
        cost = float(self.start_cost[part]) if start else keep_cost
        value = told_one(sum(worth), k, int(advised[part]), cost, keep_cost)
        return self._advice.by_tier(part, worth, value)


def _bounds(
    index: CatalogIndex, usual: int, limits: Mapping[str, tuple[int, int | None]]
) -> tuple[Numbers, Numbers]:
    """The fewest and the most instances of each constituent."""
    least = index.counts({name: low for name, (low, _) in limits.items()})
    most = index.ones * usual
    for name, (_, high) in limits.items():
        if high is not None and name in index.number:
            most[index.number[name]] = high
    bases = list(index.steps_on)
    least[bases] = np.minimum(least[bases], 1)  # one serves all that start from it
    most[bases] = np.minimum(most[bases], 1)
    return least, np.maximum(most, least)
