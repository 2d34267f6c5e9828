"""From expected requests to what the first, second, ... warm instance of a constituent is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams.catalog import Catalog, Constituent, Tier
from streams.records import Demand, MeasuredWarmUp
from streams.stages.critical_path import shares, steps_of
from streams.stages.value import used

__all__ = ["Asked", "Level", "Timing", "Uses", "asked_of", "levels_of", "timings", "uses_of"]

MEASURED = 3  # start-ups measured from which they replace the catalogue's
NINETY = 1.2816  # 90 % quantile of the normal law, in standard deviations


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a constituent takes, in ms."""

    warm_up_ms: float  # to start, mean
    ready_ms: float  # to start, 90 % quantile: how far ahead a start has to be
    serve_ms: float  # to serve a request


@dataclass(slots=True)
class Uses:
    """Expected requests that need a constituent, from one tier."""

    mean: float = 0.0
    variance: float = 0.0
    saved_ms: float = 0.0  # expected sum over these requests, when it is warm

    @property
    def each_ms(self) -> float:
        """Expected saving of one of them."""
        return self.saved_ms / self.mean if self.mean > 0 else 0.0

    def __add__(self, other: Uses) -> Uses:
        return Uses(
            self.mean + other.mean,
            self.variance + other.variance,
            self.saved_ms + other.saved_ms,
        )


Asked = dict[tuple[str, str], Uses]  # by composite and tier


@dataclass(frozen=True, slots=True)
class Level:
    """The k-th warm instance of a constituent."""

    k: int
    chance: float  # that it is used within the horizon
    value: float  # expected worth of its being warm, in the unit of the prices
    saved_ms: float  # cold start that it takes off a request's critical path, expected
    tiers: tuple[tuple[Tier, float], ...]  # highest first: chance that it is for one of theirs


@dataclass(slots=True)
class Measured:
    """Start-ups of a constituent, over all partitions."""

    count: int = 0
    total_ms: int = 0
    squares_ms2: float = 0.0

    def add(self, m: MeasuredWarmUp) -> None:
        """Take a partition's measurements in."""
        self.count += m.count
        self.total_ms += m.total_ms
        self.squares_ms2 += m.squares_ms2


def timings(
    catalog: Catalog, demands: Iterable[Demand], serve_ms: Mapping[str, float], default_ms: float
) -> dict[str, Timing]:
    """How long each constituent takes: as measured when it was, else as the catalogue says."""
    measured: dict[str, Measured] = {}
    for demand in demands:
        for m in demand.warm_ups:
            measured.setdefault(m.service, Measured()).add(m)
    return {
        name: _timing(c, measured.get(name, Measured()), serve_ms.get(name, default_ms))
        for name, c in catalog.constituents.items()
    }


def _timing(constituent: Constituent, m: Measured, serve_ms: float) -> Timing:
    if m.count < MEASURED:
        return Timing(constituent.warm_up_ms, constituent.warm_up_ms, serve_ms)
    mean = m.total_ms / m.count
    spread = math.sqrt(max(0.0, m.squares_ms2 / m.count - mean * mean))
    return Timing(mean, mean + NINETY * spread, serve_ms)


def asked_of(demands: Iterable[Demand]) -> Asked:
    """Expected requests per composite and tier, over all partitions."""
    asked: Asked = {}
    for demand in demands:
        for s in demand.services:
            pair = (s.service, s.tier)
            asked[pair] = asked.get(pair, Uses()) + Uses(s.expected, s.variance)
    return asked


def uses_of(
    asked: Asked, catalog: Catalog, timing: Mapping[str, Timing]
) -> dict[str, dict[str, Uses]]:
    """Per constituent and tier the requests that need it, over all composites that share it."""
    saved = {name: _saved_ms(name, catalog, timing) for name in {service for service, _ in asked}}
    found: dict[str, dict[str, Uses]] = {}
    for (service, tier), uses in asked.items():
        for part, ms in saved[service].items():
            tiers = found.setdefault(part, {})
            added = Uses(uses.mean, uses.variance, uses.mean * ms)
            tiers[tier] = tiers.get(tier, Uses()) + added
    return found


def _saved_ms(service: str, catalog: Catalog, timing: Mapping[str, Timing]) -> dict[str, float]:
    def wait_ms(part: str) -> int:
        return round(timing[part].warm_up_ms) if part in timing else 0

    parts = shares(steps_of(catalog, service), wait_ms)
    return {part: ms for part, ms in parts.items() if part in timing}


def levels_of(
    tiers: Iterable[tuple[Tier, Uses]],
    *,
    overlap: float,
    at_once: int,
    most: int,
    enough: float = 0.0,
) -> list[Level]:
    """What each further warm instance is worth; requests of higher tiers are served first.

    The k-th instance goes to a tier with the chance that the requests of this tier and those
    above reach it, less the chance that those above alone do.

    Parameters
    ----------
    overlap, at_once, most
        See `value.used`.
    enough
        Levels after the first that are worth less than this may be left out.
    """
    order = sorted(tiers, key=lambda pair: (-pair[0].priority, pair[0].tier))
    best = max((_Gain(tier, 1.0, uses.each_ms).value for tier, uses in order), default=0.0)
    least = enough / best if best > 0 else 1.0
    total, before = Uses(), [0.0] * most
    gains: list[list[_Gain]] = []  # per level, per tier
    for tier, uses in order:
        total = total + uses
        chances = used(
            total.mean, total.variance,
            overlap=overlap, at_once=at_once, most=most, least=least,
        )  # fmt: skip
        gains += [[] for _ in range(len(chances) - len(gains))]
        for k, chance in enumerate(chances):
            gains[k].append(_Gain(tier, max(0.0, chance - before[k]), uses.each_ms))
            before[k] = chance
    return [_level(k, of) for k, of in enumerate(gains, 1)]


@dataclass(frozen=True, slots=True)
class _Gain:
    tier: Tier
    chance: float
    saved_ms: float

    @property
    def value(self) -> float:
        return self.chance * self.saved_ms / 1000 * self.tier.weight


def _level(k: int, gains: list[_Gain]) -> Level:
    value = sum(gain.value for gain in gains)
    chance = sum(gain.chance for gain in gains)
    saved_ms = sum(g.chance * g.saved_ms for g in gains) / chance if chance > 0 else 0.0
    return Level(k, chance, value, saved_ms, tuple((g.tier, g.chance) for g in gains))
