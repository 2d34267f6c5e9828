"""When each instance will be used, which oracles know."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streams.catalog.critical_path import serve_ms, steps_of
from streams.lab.compare.ledger import NthInstance
from streams.lab.compare.policies import NEVER_MS
from streams.records import Request
from streams.records.catalog import Catalog
from streams.stages.planned_pool import PlannedInstance

__all__ = ["FutureUses"]


@dataclass(frozen=True, slots=True)
class FutureUses:
    """The uses of each instance if no request had to wait; of those free the first one serves."""

    requests: Sequence[Request]
    _places: dict[NthInstance, list[int]] = field(default_factory=dict)  # among the requests

    @classmethod
    def of(cls, requests: Sequence[Request], catalog: Catalog) -> FutureUses:
        """Those of a log, in order of time."""
        future, instances = cls(requests), dict[str, list[PlannedInstance]]()
        for place, request in enumerate(requests):
            serving = serve_ms(steps_of(catalog, request.service), request.serve_ms)
            for name, lasts_ms in serving.items():
                if name in catalog.constituents:
                    at_once = catalog.constituents[name].at_once
                    there = instances.setdefault(name, [])
                    number = _serve(there, request.at_ms, lasts_ms, at_once)
                    future._places.setdefault(NthInstance(name, number), []).append(place)
        return future

    def first(self) -> Mapping[NthInstance, int]:
        """When each is used first."""
        return {nth: self.requests[places[0]].at_ms for nth, places in self._places.items()}

    def next_ms(self, place: int, nth: NthInstance) -> int:
        """When an instance is used next after the request at a place of the log."""
        places = self._places.get(nth, [])
        later = bisect_right(places, place)
        return self.requests[places[later]].at_ms if later < len(places) else NEVER_MS


def _serve(there: list[PlannedInstance], at_ms: int, lasts_ms: int, at_once: int) -> int:
    """Have the first free instance serve a request; its number."""
    free = (i for i, instance in enumerate(there) if instance.busy_until_ms <= at_ms)
    number = next(free, len(there))
    if number == len(there):
        there.append(PlannedInstance("", "", 0, 0))
    if lasts_ms:
        there[number] = there[number].serving(at_ms, lasts_ms, at_once)
    return number + 1
