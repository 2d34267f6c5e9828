"""How long constituents take to start, as measured."""

from __future__ import annotations

from streams.records import Instance
from streams.records.catalog import Catalog

__all__ = ["StartUpTimes", "start_up_ms_since"]


class StartUpTimes:
    """Mean start-up time of each constituent, over the starts observed so far."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}  # count, mean in ms
        self._last: dict[str, int] = {}  # warm since, of the newest instance that was counted

    def observe(self, instance: Instance) -> None:
        """Count the start of an instance, once."""
        since, constituent = instance.warm_since_ms, instance.service
        if since is None or since <= self._last.get(constituent, -1):
            return
        self._last[constituent] = since
        count, mean = self._seen.get(constituent, (0, 0.0))
        took_ms = _took_ms(instance, since)
        self._seen[constituent] = (count + 1, mean + (took_ms - mean) / (count + 1))

    def of(self, names: tuple[str, ...], catalog: Catalog) -> dict[str, int]:
        """The start-up time of each constituent in ms; the declared one until one was measured."""
        known = catalog.constituents
        declared = {name: known[name].warm_up_ms if name in known else 0 for name in names}
        return {n: round(self._seen[n][1]) if n in self._seen else declared[n] for n in names}


def start_up_ms_since(instance: Instance, arrived_ms: int) -> int | None:
    """The start-up time of an instance that became warm while a request waited, else None."""
    since = instance.warm_since_ms
    return None if since is None or since < arrived_ms else _took_ms(instance, since)


def _took_ms(instance: Instance, warm_since_ms: int) -> int:
    return max(0, warm_since_ms - instance.started_ms)  # the clock may have been set back
