"""Where the page's facts come from: the database, and two small topics."""

from __future__ import annotations

import asyncio
import logging

from streams.dashboard.database import ReadingDatabase
from streams.dashboard.health import HealthWatch
from streams.errors import ForemeshError
from streams.provisioners.core.topic_views import CatalogView, ControlView
from streams.records.catalog import Catalog
from streams.records.control import Control
from streams.settings import Settings

__all__ = ["FactSources"]

_log = logging.getLogger(__name__)

READ_S = 1.0


class FactSources:
    """The database, the catalogue, what operators said, and the health of the parts.

    Parameters
    ----------
    settings
        Where Kafka and PostgreSQL are.
    health
        Asks the parts.
    catalog
        In place of the one on Kafka.
    """

    def __init__(
        self, settings: Settings, health: HealthWatch, catalog: Catalog | None = None
    ) -> None:
        self.settings, self.health = settings, health
        self.database = ReadingDatabase(settings.postgres)
        self._given = catalog
        self._catalog, self._control = CatalogView(settings), ControlView(settings)
        self.control_known = False

    @property
    def catalog(self) -> Catalog:
        """The catalogue; empty while none is known."""
        return self._given or self._catalog.now

    def control(self, pool: str) -> Control | None:
        """What is in force in a pool; None while it is not known."""
        return self._control.now.get(pool, Control(pool=pool)) if self.control_known else None

    async def follow(self) -> None:
        """Keep the topics up to date for ever; without Kafka what was read last stays."""
        while True:
            try:
                await self._catalog.follow()
                await self._control.follow()
                self.control_known = not self._control.unreachable
            except ForemeshError as error:
                _log.warning("%s", error, extra={"action": "dashboard_topics"})
                await asyncio.sleep(10 * READ_S)
            await asyncio.sleep(READ_S)

    async def close(self) -> None:
        """Close all connections."""
        await self.database.close()
        await asyncio.to_thread(self._catalog.close)
        await asyncio.to_thread(self._control.close)
