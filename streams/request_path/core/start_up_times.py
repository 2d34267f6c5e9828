"""How long constituents take to start, as measured."""

from __future__ import annotations

from streams.records import Instance
from streams.records.catalog import Catalog

__all__ = ["StartUpTimes"]


class StartUpTimes:
    """Mean start-up time of each constituent, over the instances last seen to become warm."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}  # count, mean in ms
        self._last: dict[str, int] = {}  # warm since, of the newest that was counted

    def observe(self, instance: Instance) -> None:
        """Count an instance's start, once."""
        since, service = instance.warm_since_ms, instance.service
        if since is None or since <= self._last.get(service, -1):
            return
        self._last[service] = since
        count, mean = self._seen.get(service, (0, 0.0))
        took_ms = since - instance.started_ms
        self._seen[service] = (count + 1, mean + (took_ms - mean) / (count + 1))

    def of(self, names: tuple[str, ...], catalog: Catalog) -> dict[str, int]:
        """Each constituent's start-up time in ms; what is declared until one was measured."""
        known = catalog.constituents
        declared = {name: known[name].warm_up_ms if name in known else 0 for name in names}
        return {n: round(self._seen[n][1]) if n in self._seen else declared[n] for n in names}
