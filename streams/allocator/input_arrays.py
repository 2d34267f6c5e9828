"""What decisions read, as arrays over the current catalogue: each made once, and used until replaced."""

from __future__ import annotations

from collections.abc import Mapping

from streams.allocator.instances import PoolInstances
from streams.allocator.valuation.catalog_index import CatalogIndex
from streams.allocator.valuation.demand_arrays import DemandArrays
from streams.records import Demand, Instance
from streams.records.catalog import Catalog

__all__ = ["InputArrays"]


class InputArrays:
    """Keeps the arrays of the latest inputs; inputs are recognised by identity, never by value."""

    def __init__(self) -> None:
        self.index = CatalogIndex(Catalog())
        self._demands: dict[tuple[str, int], DemandArrays] = {}
        self._instances: dict[str, tuple[Mapping[str, Instance], PoolInstances]] = {}

    def use(self, catalog: Catalog) -> CatalogIndex:
        """The index of this catalogue; rebuilt when the catalogue has been replaced."""
        if self.index.catalog is not catalog:
            self.index, self._demands, self._instances = CatalogIndex(catalog), {}, {}
        return self.index

    def demand(self, demand: Demand) -> DemandArrays:
        """The arrays of the latest demand of a partition."""
        place = demand.pool, demand.partition
        found = self._demands.get(place)
        if found is None or found.demand is not demand:
            found = self._demands[place] = DemandArrays.of(demand, self.index)
        return found

    def instances(self, pool: str, instances: Mapping[str, Instance]) -> PoolInstances:
        """The instances of a pool, among all."""
        found = self._instances.get(pool)
        if found is None or found[0] is not instances:
            here = [i for i in instances.values() if i.pool == pool]
            found = self._instances[pool] = instances, PoolInstances.of(here, self.index)
        return found[1]
