"""Catalogue and instances, followed the moment they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from streams.adapters import codec
from streams.adapters.kafka import client_config
from streams.catalog import Catalog, CatalogEntry
from streams.engine.view import View
from streams.records import Instance, Record
from streams.settings import Settings

__all__ = ["Watch"]

_READ_S = 30.0
_WAIT_S = 0.5  # also the longest that the process's end waits for it


class Watch:
    """What the topics `catalog` and `instances` hold.

    While Kafka is away all stays as it was.

    Parameters
    ----------
    settings
        Where Kafka is.
    """

    def __init__(self, settings: Settings) -> None:
        self._catalog, self._instances = (
            View[Record](client_config(settings), settings.topic(topic), codec.decode)
            for topic in ("catalog", "instances")
        )
        self._told: Mapping[str, Record] = {}
        self.catalog = Catalog()

    async def open(self) -> None:
        """Read both to the end.

        Raises
        ------
        BrokerUnreachable, TopicsMissing
            One cannot be read.
        """
        await asyncio.to_thread(self._catalog.catch_up, _READ_S)
        await asyncio.to_thread(self._instances.catch_up, _READ_S)
        self._read_catalog()

    async def follow_catalog(self, changed: Callable[[], None] = lambda: None) -> None:
        """Keep `catalog` true for ever; `changed` is called after each change."""
        while True:
            if await asyncio.to_thread(self._catalog.wait, _WAIT_S):
                self._read_catalog()
                changed()

    async def follow_instances(self, changed: Callable[[list[Instance]], None]) -> None:
        """Hand over the news of instances for ever."""
        while True:
            if await asyncio.to_thread(self._instances.wait, _WAIT_S):
                changed(self.news())

    def news(self) -> list[Instance]:
        """The instances whose record is new since the last call."""
        told, self._told = self._told, self._instances.values
        return [
            value
            for name, value in self._told.items()
            if told.get(name) is not value and isinstance(value, Instance)
        ]

    @property
    def instances(self) -> Mapping[str, Record]:
        """The last record of every instance that was told by `news`, by name."""
        return self._told

    def close(self) -> None:
        """Let go of the connections."""
        self._catalog.close()
        self._instances.close()

    def _read_catalog(self) -> None:
        found = self._catalog.values.values()
        self.catalog = Catalog.of(entry for entry in found if isinstance(entry, CatalogEntry))
