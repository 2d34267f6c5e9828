"""What waiting and warm time are worth: the tiers and prices of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streams.allocator.valuation.catalog_index import FALLBACK
from streams.dashboard.database import Row
from streams.records.catalog import Catalog

__all__ = ["PriceList"]

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Prices of warm time, and what a second of waiting costs, in the unit of the prices.

    Parameters
    ----------
    hourly
        Of an instance of each constituent.
    weights
        Of each tier, for a second; None where no catalogue is known.
    """

    hourly: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None

    @classmethod
    def of(cls, catalog: Catalog, verdicts: Iterable[Row] = ()) -> PriceList:
        """Those of the catalogue; a constituent that it lacks has the price of its last verdict."""
        told = {row["service"]: row["price"] for row in verdicts}
        listed = {name: entry.price for name, entry in catalog.constituents.items()}
        weights = {name: tier.weight for name, tier in catalog.tiers.items()}
        return cls(hourly={**told, **listed}, weights=weights if listed else None)

    def waiting(self, tier: str, ms: float) -> float:
        """The cost of requests of a tier that wait so long."""
        known = self.weights or {}
        return known.get(tier, FALLBACK.weight) * ms / 1000

    def warm(self, service: str, ms: float) -> float:
        """The cost of instances of a constituent that are warm so long."""
        return self.hourly.get(service, 0.0) * ms / HOUR_MS

    def lacks(self, services: Iterable[str]) -> set[str]:
        """Those of the constituents whose price nobody has told."""
        return set(services) - self.hourly.keys()
