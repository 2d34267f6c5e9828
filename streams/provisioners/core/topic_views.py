"""Catalogue and instances as the topics hold them, for processes that are no stage."""

from __future__ import annotations

import asyncio
import logging

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config
from streams.engine.topic_view import View
from streams.errors import BrokerUnreachable
from streams.records import Instance, Record
from streams.records.catalog import Catalog, CatalogEntry
from streams.settings import Settings

__all__ = ["CatalogView", "InstanceView", "all_instances"]

logger = logging.getLogger(__name__)

_READ_S = 30.0


def _view(settings: Settings, topic: str) -> View[Record]:
    return View(client_config(settings), settings.topic(topic), codec.decode)


class _FollowedTopic:
    """A view that is followed while the process serves; Kafka may be away for a while."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._view = _view(settings, topic)
        self._reading = asyncio.Lock()
        self.away = False  # whether Kafka did not answer when last asked

    async def follow(self) -> None:
        """Read to the end as of now; when Kafka is away the view stays as it was."""
        async with self._reading:
            try:
                changed = await asyncio.to_thread(self._view.catch_up, _READ_S)
            except BrokerUnreachable as error:
                if not self.away:
                    logger.warning("%s", error, extra={"action": "kafka_away"})
                self.away = True
            else:
                self.away = False
                if changed:
                    self._changed()

    def read(self) -> None:
        """Read to the end as of now.

        Raises
        ------
        BrokerUnreachable, TopicsMissing
            It cannot be read.
        """
        self._view.catch_up(_READ_S)
        self._changed()

    def close(self) -> None:
        """Let go of the connection."""
        self._view.close()

    def _changed(self) -> None:
        """Make of the view what is asked for, after each change; where that is the view, nothing."""


class CatalogView(_FollowedTopic):
    """The catalogue as it stands, in `now`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "catalog")
        self.now = Catalog()

    def _changed(self) -> None:
        found = self._view.values.values()
        self.now = Catalog.of(entry for entry in found if isinstance(entry, CatalogEntry))


class InstanceView(_FollowedTopic):
    """Instances as they change."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "instances")

    def all(self) -> list[Instance]:
        """The last record of every instance."""
        return [value for value in self._view.values.values() if isinstance(value, Instance)]


def all_instances(settings: Settings) -> list[Instance]:
    """The last record of every instance."""
    view = _view(settings, "instances")
    try:
        view.catch_up(_READ_S)
        return [value for value in view.values.values() if isinstance(value, Instance)]
    finally:
        view.close()
