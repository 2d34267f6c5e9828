"""Follows the topics `catalog` and `instances`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Self

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config, connect
from streams.engine.topic_view import TopicView
from streams.engine.view_records import view_decoder
from streams.errors import BrokerUnreachable, ForemeshError
from streams.records import Instance, Record
from streams.records.catalog import Catalog, CatalogEntry
from streams.settings import Settings

__all__ = ["CatalogAndInstanceWatch", "nothing"]

_READ_S = 30.0
_PATIENT = {"fetch.min.bytes": 100_000, "fetch.wait.max.ms": 1_000}
_BATCH_S = 0.03  # changes within it are handed over together: each call costs every listener
_WAIT_S = 0.5  # also the longest that the end of the process waits for it


async def nothing() -> None:
    """Do nothing after a change."""


class CatalogAndInstanceWatch:
    """The contents of the topics `catalog` and `instances`; made by `open`.

    While Kafka is unreachable everything stays as it was.

    Parameters
    ----------
    catalog, instances
        Views of the two topics that have been read to the end.
    changed
        Sees the records of `instances` as they are decoded.
    """

    def __init__(
        self, catalog: TopicView[Record], instances: TopicView[Record], changed: _ChangedInstances
    ) -> None:
        self._catalog = catalog
        self._instances = instances
        self._changed = changed
        self.catalog = _catalog_of(catalog)

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        patient: bool = False,
        retry: Callable[[BrokerUnreachable], bool] = lambda _: False,
    ) -> Self:
        """Read both topics to the end.

        Parameters
        ----------
        settings
            Where Kafka is.
        patient
            Whether changes of instances may arrive in batches, about once a second: that is less
            work for the broker and for this process.
        retry
            Whether to go on reading after this error.

        Raises
        ------
        BrokerUnreachable, TopicsMissing
            A topic cannot be read.
        """
        config = client_config(settings)
        waits = _PATIENT if patient else {}
        changed = _ChangedInstances()
        views = (
            TopicView[Record](
                config, settings.topic("catalog"), view_decoder("catalog", codec.decode)
            ),
            TopicView[Record]({**config, **waits}, settings.topic("instances"), changed.decode),
        )
        try:
            # First: a view says of a broker that it cannot reach no more than that.
            await _retried(partial(connect, settings), retry)
            for view in views:
                await _retried(partial(view.catch_up, _READ_S), retry)
        except ForemeshError:
            for view in views:
                view.close()
            raise
        return cls(*views, changed)

    async def follow_catalog(self, changed: Callable[[], Awaitable[None]] = nothing) -> None:
        """Keep `catalog` current for ever; `changed` is awaited after each change."""
        while True:
            if await asyncio.to_thread(self._catalog.wait, _WAIT_S):
                self.catalog = await asyncio.to_thread(_catalog_of, self._catalog)
                await changed()

    async def follow_instances(self, changed: Callable[[list[Instance]], None]) -> None:
        """Hand over changed instances for ever: at once after a pause, else in batches."""
        while True:
            if await asyncio.to_thread(self._instances.wait, _WAIT_S):
                changed(self.take_changed())
                await asyncio.sleep(_BATCH_S)

    def take_changed(self) -> list[Instance]:
        """The instances whose record changed since the last call."""
        return self._changed.take()

    @property
    def instances(self) -> Mapping[str, Record]:
        """The last record of every instance that the topic still has, by name."""
        return self._instances.values

    def concurrency(self, constituent: str) -> int:
        """How many requests an instance of a constituent serves at once."""
        found = self.catalog.constituents.get(constituent)
        return found.at_once if found else 1

    def health(self, constituent: str) -> str:
        """The path at which instances of a constituent answer once they can serve."""
        found = self.catalog.constituents.get(constituent)
        return found.health if found else "/"

    def close(self) -> None:
        """Close the connections."""
        self._catalog.close()
        self._instances.close()


class _ChangedInstances:
    """The instances decoded since they were last taken."""

    # Noted as they are read: comparing all records would cost more with every instance.
    def __init__(self) -> None:
        self._changed: dict[str, Instance] = {}
        self._decode = view_decoder("instances", codec.decode)

    def decode(self, data: bytes) -> Record:
        record = self._decode(data)
        if isinstance(record, Instance):
            self._changed[record.instance_id] = record
        return record

    def take(self) -> list[Instance]:
        changed, self._changed = self._changed, {}
        return list(changed.values())


async def _retried(call: Callable[[], object], retry: Callable[[BrokerUnreachable], bool]) -> None:
    """Call in a thread; a further attempt at reading goes on where the last one stopped."""
    while True:
        try:
            await asyncio.to_thread(call)
        except BrokerUnreachable as error:
            if not retry(error):
                raise
        else:
            return


def _catalog_of(view: TopicView[Record]) -> Catalog:
    return Catalog.of(entry for entry in view.values.values() if isinstance(entry, CatalogEntry))
