"""Catalogue and instances, followed the moment they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config
from streams.engine.topic_view import View
from streams.records import Instance, Record
from streams.records.catalog import Catalog, CatalogEntry
from streams.settings import Settings

__all__ = ["CatalogAndInstanceWatch"]

_READ_S = 30.0
_PATIENT = {"fetch.min.bytes": 100_000, "fetch.wait.max.ms": 1_000}
_GATHER_S = 0.03  # what changes within it is news together: each costs all who listen
_WAIT_S = 0.5  # also the longest that the process's end waits for it


class CatalogAndInstanceWatch:
    """What the topics `catalog` and `instances` hold.

    While Kafka is away all stays as it was.

    Parameters
    ----------
    settings
        Where Kafka is.
    patient
        Whether news of instances may come together, about once a second: the broker and this
        process have less to do than with each the moment it is there.
    """

    def __init__(self, settings: Settings, *, patient: bool = False) -> None:
        config = client_config(settings)
        waits = _PATIENT if patient else {}
        self._catalog = View[Record](config, settings.topic("catalog"), codec.decode)
        self._instances = View[Record](
            {**config, **waits}, settings.topic("instances"), self._decode
        )
        self._fresh: dict[str, Instance] = {}
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
        """Hand over the news of instances for ever: at once after a pause, else gathered."""
        while True:
            if await asyncio.to_thread(self._instances.wait, _WAIT_S):
                changed(self.news())
                await asyncio.sleep(_GATHER_S)

    def news(self) -> list[Instance]:
        """The instances whose record is new since the last call."""
        # What is new was noted when it was read: to look for it costs more with every instance.
        fresh, self._fresh = self._fresh, {}
        return list(fresh.values())

    @property
    def instances(self) -> Mapping[str, Record]:
        """The last record of every instance that the topic still has, by name."""
        return self._instances.values

    def close(self) -> None:
        """Let go of the connections."""
        self._catalog.close()
        self._instances.close()

    def _decode(self, data: bytes) -> Record:
        record = codec.decode(data)
        if isinstance(record, Instance):
            self._fresh[record.instance_id] = record
        return record

    def _read_catalog(self) -> None:
        found = self._catalog.values.values()
        self.catalog = Catalog.of(entry for entry in found if isinstance(entry, CatalogEntry))
