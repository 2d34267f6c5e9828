"""In-memory views of small topics, for processes that run no stage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from streams.adapters.avro import codec
from streams.adapters.kafka.clients import client_config, connect
from streams.engine.topic_view import TopicView
from streams.engine.view_records import view_decoder
from streams.errors import BrokerUnreachable
from streams.records import Instance, Record
from streams.records.catalog import Catalog, CatalogEntry
from streams.records.control import Control
from streams.settings import Settings

__all__ = ["CatalogView", "ControlView", "InstanceView", "all_instances"]

logger = logging.getLogger(__name__)

_READ_S = 30.0


def _view(settings: Settings, topic: str) -> TopicView[Record]:
    decode = view_decoder(topic, codec.decode)
    return TopicView(client_config(settings), settings.topic(topic), decode)


class _FollowedTopic:
    """A view of a topic, brought up to date while the process serves; survives outages of Kafka."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._view = _view(settings, topic)
        self._lock = asyncio.Lock()
        self.unreachable = False  # whether Kafka did not answer the last read

    async def follow(self) -> None:
        """Read to the current end; while Kafka is unreachable the view stays unchanged."""
        async with self._lock:
            try:
                changed = await asyncio.to_thread(self._view.catch_up, _READ_S)
            except BrokerUnreachable as error:
                if not self.unreachable:
                    logger.warning("%s", error, extra={"action": "kafka_away"})
                self.unreachable = True
            else:
                self.unreachable = False
                if changed:
                    self._changed()

    def read(self) -> None:
        """Read to the current end.

        Raises
        ------
        BrokerUnreachable, TopicsMissing
            The topic cannot be read.
        """
        connect(self._settings)  # a view says of a broker that it cannot reach no more than that
        self._view.catch_up(_READ_S)
        self._changed()

    def close(self) -> None:
        """Close the connection."""
        self._view.close()

    def _changed(self) -> None:
        """Derive what a subclass offers from the view; called after each change."""


class CatalogView(_FollowedTopic):
    """The current catalogue, in `now`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "catalog")
        self.now = Catalog()

    def _changed(self) -> None:
        records = self._view.values.values()
        self.now = Catalog.of(entry for entry in records if isinstance(entry, CatalogEntry))


class ControlView(_FollowedTopic):
    """What operators said last, by pool, in `now`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "control")
        self.now: Mapping[str, Control] = {}

    def _changed(self) -> None:
        records = self._view.values.values()
        self.now = {record.pool: record for record in records if isinstance(record, Control)}


class InstanceView(_FollowedTopic):
    """The current records of instances."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "instances")

    def all(self) -> list[Instance]:
        """Return the last record of every instance."""
        return [value for value in self._view.values.values() if isinstance(value, Instance)]


def all_instances(settings: Settings) -> list[Instance]:
    """Return the last record of every instance."""
    view = _view(settings, "instances")
    try:
        view.catch_up(_READ_S)
        return [value for value in view.values.values() if isinstance(value, Instance)]
    finally:
        view.close()
