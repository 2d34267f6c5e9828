"""What instances of a pool are worth and what they cost, as the demand stands."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from streams.catalog import Constituent, Resources, Tier
from streams.stages.critical_path import steps_of
from streams.stages.joint import Joint, Parts, Worth, layers_of, slowest_first
from streams.stages.levels import Asked, Level, Timing, Uses, levels_of, uses_of
from streams.stages.packing import Choice, Idle, Want, share_of
from streams.stages.pool_view import PoolView

__all__ = ["FALLBACK", "NOBODY", "Economy", "Service"]

HOUR_MS = 3_600_000
FALLBACK = Tier(tier="", weight=0.01, sla_ms=0)  # of users whose tier the catalogue does not have
NOBODY = Tier(tier="", weight=0.0, sla_ms=0, priority=-(2**31))  # needs it


@dataclass(frozen=True, slots=True)
class Service:
    """A constituent in a decision."""

    constituent: Constituent
    timing: Timing
    levels: list[Level]
    have: int  # instances there or under way
    idle: int  # of them, those that may be released
    horizon_ms: int

    @property
    def keep_cost(self) -> float:
        """Of one instance kept for the horizon."""
        return self.constituent.price * self.horizon_ms / HOUR_MS

    @property
    def start_cost(self) -> float:
        """Of one instance started now and kept for the horizon."""
        return self.constituent.price * (self.horizon_ms + self.timing.ready_ms) / HOUR_MS

    @property
    def lead(self) -> float:
        """Part of the saving that a start made now still brings.

        Requests come evenly over the horizon; one that comes while the instance starts is
        spared only the part of the start that has passed.
        """
        ready_ms, horizon_ms = self.timing.ready_ms, self.horizon_ms
        if ready_ms <= horizon_ms:
            return 1 - ready_ms / (2 * horizon_ms)
        return horizon_ms / (2 * ready_ms)

    def level(self, k: int) -> Level | None:
        """The k-th instance, when there is any chance that it is used."""
        return self.levels[k - 1] if 0 < k <= len(self.levels) else None


class Economy:
    """Values and costs of starting, keeping and giving up instances.

    The first instances of the constituents are valued jointly (see `Joint`), further ones each
    by itself: a request that finds all instances of one part busy finds those of the others so.
    """

    def __init__(
        self,
        view: PoolView,
        horizon_ms: int,
        most: int,
        *,
        patience: Mapping[str, float],
        held: Container[str],
    ) -> None:
        self.view = view
        self.horizon_ms = horizon_ms
        self._patience, self._held = patience, held
        self._asked = self._by_known_tier()
        uses = uses_of(self._asked, view.catalog, view.timing)
        names = (uses.keys() | view.have.keys()) & view.catalog.constituents.keys()
        self.services = {n: self._service(n, uses.get(n, {}), most) for n in sorted(names)}
        warm = (name for name, service in self.services.items() if service.have)
        self._joint = Joint(self._layers(uses), warm)

    def wants(self) -> Iterator[Want]:
        """All that would pay, to begin with."""
        yield from self._firsts(self._joint.missing())
        for name, service in self.services.items():
            if service.have:
                yield from self._further(name, service.have + 1)

    def then(self, choice: Choice) -> Iterator[Want]:
        """Take a grant in: what would pay since."""
        first = [service for service, k in choice.want.parts if k == 1]
        for victim in choice.taken:
            if victim.k == 1:
                self._joint.remove(victim.service)
        self._joint.add(first)
        changed = [*first, *(v.service for v in choice.taken if v.k == 1)]
        yield from self._firsts(self._joint.missing(changed))
        for name, k in choice.want.parts:
            yield from self._further(name, k + 1)

    def kept(self, name: str, k: int) -> tuple[float, Tier]:
        """What the k-th instance is worth when it is warm already, and to whom."""
        if k == 1:
            worth = self._joint.loss(name)
            return sum(worth.values()), self._top(worth)
        level = self.services[name].level(k)
        return (level.value, self._top(_worth(level))) if level else (0.0, NOBODY)

    def idle(self) -> Iterator[Idle]:
        """What could be taken away: not what was started for somebody who had waited long."""
        for name, service in self.services.items():
            spare = 0 if name in self._held else service.idle
            for k in range(service.have, service.have - spare, -1):
                value, tier = self.kept(name, k)
                needs, price = service.constituent.needs, service.constituent.price
                yield Idle(
                    service=name, k=k, needs=needs, price=price, value=value, priority=tier.priority
                )

    def tier_of(self, want: Want) -> Tier:
        """The highest tier that at least half of the value is for, with those above it."""
        (name, k), *more = want.parts
        level = self.services[name].level(k)
        joint = self._joint.gain(frozenset(n for n, _ in want.parts))
        return self._top(_worth(level) if level and k > 1 and not more else joint)

    def _service(self, name: str, uses: Mapping[str, Uses], most: int) -> Service:
        view, constituent = self.view, self.view.catalog.constituents[name]
        timing = view.timing[name]
        levels = levels_of(
            ((self._tier(tier), u) for tier, u in uses.items()),
            overlap=min(1.0, timing.serve_ms / self.horizon_ms),
            at_once=max(1, constituent.concurrency),
            most=most,
            enough=constituent.price * self.horizon_ms / HOUR_MS / 2,
        )
        have = view.have.get(name, 0)
        idle = min(have, view.idle.get(name, 0))
        return Service(constituent, timing, levels, have, idle, self.horizon_ms)

    def _by_known_tier(self) -> Asked:
        """What is asked, with all tiers that the catalogue does not have as one."""
        asked: Asked = {}
        for (composite, tier), uses in self.view.asked.items():
            pair = (composite, tier if tier in self.view.catalog.tiers else FALLBACK.tier)
            asked[pair] = asked.get(pair, Uses()) + uses
        return asked

    def _tier(self, name: str) -> Tier:
        return self.view.catalog.tiers.get(name, FALLBACK)

    def _top(self, worth: Worth) -> Tier:
        """The highest tier for which, with those above it, at least half of the worth is."""
        left = sum(worth.values()) / 2
        tiers = [self._tier(name) for name in worth]
        for tier in sorted(tiers, key=lambda t: (-t.priority, t.tier)):
            left -= worth[tier.tier]
            if left <= 0 < worth[tier.tier]:
                return tier
        return NOBODY

    def _layers(self, uses: Mapping[str, Mapping[str, Uses]]) -> dict[Parts, Worth]:
        wait_ms = {name: service.timing.warm_up_ms for name, service in self.services.items()}
        firsts = {
            name: {tier.tier: chance for tier, chance in service.levels[0].tiers}
            for name, service in self.services.items()
            if service.levels
        }
        orders: dict[str, list[list[str]]] = {}
        layers: dict[Parts, Worth] = {}
        for (composite, name), asked in self._asked.items():
            if composite not in orders:
                steps = steps_of(self.view.catalog, composite)
                orders[composite] = slowest_first(steps, wait_ms)
            tier = self._tier(name)

            def first(part: str, name: str = name, mean: float = asked.mean) -> float:
                chance = firsts[part].get(name, 0.0) if part in firsts else 0.0
                return chance * mean / uses[part][name].mean if chance else 0.0

            for parts, saved_ms in layers_of(orders[composite], wait_ms, first):
                worth = layers.setdefault(parts, {})
                worth[name] = worth.get(name, 0.0) + saved_ms / 1000 * tier.weight
        return layers

    def _firsts(self, missing: Iterable[Parts]) -> Iterator[Want]:
        for parts in missing:
            worth = self._joint.gain(parts)
            lead = min(self.services[name].lead for name in parts)
            names = tuple((name, 1) for name in sorted(parts))
            yield from self._want(names, sum(worth.values()) * lead, self._top(worth))

    def _further(self, name: str, k: int) -> Iterator[Want]:
        service = self.services[name]
        level = service.level(k)
        if level and k > 1:
            yield from self._want(
                ((name, k),), level.value * service.lead, self._top(_worth(level))
            )

    def _want(self, parts: tuple[tuple[str, int], ...], value: float, tier: Tier) -> Iterator[Want]:
        services = [self.services[name] for name, _ in parts]
        cost = sum(service.start_cost for service in services)
        if value <= cost:
            return
        needs = sum((service.constituent.needs for service in services), Resources())
        yield Want(
            parts=parts,
            needs=needs,
            price=sum(service.constituent.price for service in services),
            value=value,
            cost=cost,
            priority=tier.priority,
            share=share_of(needs, self.view.capacity),
            patience=max(self._patience.get(name, 1.0) for name, _ in parts),
        )


def _worth(level: Level) -> Worth:
    return {tier.tier: chance * tier.weight for tier, chance in level.tiers}
