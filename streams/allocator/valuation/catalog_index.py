"""The catalogue as arrays, for vectorised decisions."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.catalog.critical_path import first_uses, steps_of
from streams.records.catalog import Catalog, Resources, Tier

__all__ = ["FALLBACK", "NOBODY", "CatalogIndex", "Numbers", "share_of"]

FALLBACK = Tier(tier="", weight=0.01, sla_ms=0)  # of users whose tier is not in the catalogue
NOBODY = Tier(tier="", weight=0.0, sla_ms=0, priority=-(2**31))  # of instances that none needs

MOST_AT_ONCE = 1_000  # requests of an instance that are told apart: a decision takes time for each
EVERYTHING = 1e9  # share when the pool has none of a resource

Numbers = NDArray[np.int64]


class CatalogIndex:
    """Arrays over a catalogue: constituents numbered by name, tiers highest priority first.

    Parameters
    ----------
    catalog
        Kept as `catalog`, to recognise when the catalogue has been replaced.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.constituents = [c for _, c in sorted(catalog.constituents.items())]
        self.number = {c.service: i for i, c in enumerate(self.constituents)}
        self.ones = np.ones(len(self.constituents), np.int64)
        self.price = np.array([c.price for c in self.constituents], np.float64)
        at_once = [min(c.at_once, MOST_AT_ONCE) for c in self.constituents]
        self.at_once = np.array(at_once, np.int64)
        self.warm_up_ms = np.array([c.warm_up_ms for c in self.constituents], np.float64)
        base = [self.number.get(c.base, -1) for c in self.constituents]
        self.base: Numbers = np.array(base, np.int64)  # number of its base; -1 for none
        tiers = {FALLBACK.tier: FALLBACK} | dict(catalog.tiers)
        self.tiers = sorted(tiers.values(), key=lambda t: (-t.priority, t.tier))
        self.weight = np.array([tier.weight for tier in self.tiers], np.float64)
        self._shares: tuple[Resources, list[float]] | None = None
        # A constituent that is requested by itself counts as a composite of one.
        self.services = list(dict.fromkeys([*sorted(catalog.composites), *self.number]))
        self._places = _DemandPlaces(self.services, [tier.tier for tier in self.tiers])
        self.step_service, self.step_parts = self._steps()
        self._parts_of: dict[str, frozenset[int]] = {}
        self._steps_of_service: dict[int, list[list[int]]] = {}
        for row, parts in zip(self.step_service.tolist(), self.step_parts.tolist(), strict=True):
            name = self.services[row]
            self._parts_of[name] = self.parts_of(name) | {part for part in parts if part >= 0}
            there = [part for part in parts if part >= 0]
            self._steps_of_service.setdefault(row, []).append(there)
        self.steps_of: list[list[int]] = [[] for _ in self.constituents]
        for step, parts in enumerate(self.step_parts.tolist()):
            for part in parts:
                if part >= 0:
                    self.steps_of[part].append(step)
        self.steps_on = self._steps_on()

    @property
    def size(self) -> int:
        """Number of composites times tiers."""
        return self._places.size

    def shares(self, capacity: Resources) -> Sequence[float]:
        """Share of this capacity that one instance of each constituent takes."""
        if self._shares is None or self._shares[0] != capacity:
            self._shares = (capacity, [share_of(c.needs, capacity) for c in self.constituents])
        return self._shares[1]

    def counts(self, by_name: Mapping[str, int]) -> Numbers:
        """Counts as an array over all constituents; those not in the catalogue are left out."""
        number = self.number
        result = np.zeros(len(self.constituents), np.int64)
        for name, count in by_name.items():
            if name in number:
                result[number[name]] = count
        return result

    def place(self, pair: tuple[str, str]) -> tuple[int, int] | None:
        """Row and column of a service and tier; None for an unknown service."""
        at = self._places[pair]
        return None if at == self._places.size else divmod(at, len(self.tiers))

    def places(self, pairs: Collection[tuple[str, str]]) -> Numbers:
        """Flat places of services and tiers in a table of demand; its size for unknown services."""
        return np.fromiter(map(self._places.__getitem__, pairs), np.int64, len(pairs))

    def parts_of(self, service: str) -> frozenset[int]:
        """Constituents of a service."""
        return self._parts_of.get(service, frozenset())

    def steps_of_service(self, row: int) -> Sequence[Sequence[int]]:
        """The constituents first used in each step of a service."""
        return self._steps_of_service.get(row, ())

    def tier_number(self, tier: str) -> int:
        """The column of a tier; that of users without one for an unknown tier."""
        return self._places.column(tier)

    def composites_of(self, part: int) -> Iterator[int]:
        """Rows of the services that use a constituent, or one that starts from it."""
        for step in self.steps_on.get(part, self.steps_of[part]):
            yield int(self.step_service[step])

    def on(self, bases: Iterable[int]) -> set[int]:
        """Constituents that start from these bases."""
        return {part for base in bases for part in np.flatnonzero(self.base == base).tolist()}

    def bases_near(self, parts: Iterable[int]) -> set[int]:
        """Bases among these constituents, and bases of any constituent that shares a step with them."""
        if not self.steps_on:
            return set()
        steps = sorted({step for part in parts for step in self.steps_of[part]})
        near = np.unique(self.base[self.step_parts[steps]][self.step_parts[steps] >= 0]).tolist()
        return {*near, *(self.steps_on.keys() & set(parts))} - {-1}

    def _steps(self) -> tuple[Numbers, Numbers]:
        """Service of each step, and the constituents first used in it; -1 pads a row."""
        found = [
            (i, [self.number[part] for part in step if part in self.number])
            for i, name in enumerate(self.services)
            for step in first_uses(steps_of(self.catalog, name))
        ]
        services, steps = [i for i, _ in found], [step for _, step in found]
        parts = np.full((len(steps), max(map(len, steps), default=0) or 1), -1, np.int64)
        for row, step in zip(parts, steps, strict=True):
            row[: len(step)] = step
        return np.array(services, np.int64), parts

    def _steps_on(self) -> dict[int, Numbers]:
        """Per base the steps with a constituent that starts from it."""
        there = self.step_parts >= 0
        of = np.where(there, self.base[self.step_parts], -1)
        bases = np.unique(self.base[self.base >= 0]).tolist()
        return {base: np.flatnonzero((of == base).any(axis=1)) for base in bases}


class _DemandPlaces(dict[tuple[str, str], int]):
    """Flat position of each service and tier; unknown services share the last position."""

    def __init__(self, services: Sequence[str], tiers: Sequence[str]) -> None:
        super().__init__()
        self._row = {name: i for i, name in enumerate(services)}
        self._column = {name: i for i, name in enumerate(tiers)}
        self.size = len(services) * len(tiers)

    def column(self, tier: str) -> int:
        return self._column.get(tier, self._column[FALLBACK.tier])

    def __missing__(self, pair: tuple[str, str]) -> int:
        service, tier = pair
        if service not in self._row:
            return self.size
        column = self.column(tier)
        place = self._row[service] * len(self._column) + column
        if tier in self._column:  # bounds the cache to what the catalogue has
            self[pair] = place
        return place


def share_of(needs: Resources, capacity: Resources) -> float:
    """Share of a pool that these needs take: the Euclidean norm of the shares per resource.

    Packing by it comes closer to the optimum than by the dominant share, the largest of them:
    1.4 % below it against 2.0 %, at the mean over small random pools.
    """
    pairs = (
        (needs.cpu, capacity.cpu),
        (needs.memory, capacity.memory),
        (needs.bandwidth, capacity.bandwidth),
    )
    return math.hypot(*[n / have if have > 0 else EVERYTHING * (n > 0) for n, have in pairs])
