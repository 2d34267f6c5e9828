"""The warm set of a pool as a running thing: followed, claimed from, reported about."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import fields
from typing import Any

import aiohttp

from streams.provisioners.core.interface import InstanceUse
from streams.records import Instance
from streams.records.catalog import Catalog
from streams.request_path.core.claims import InstanceClaims
from streams.request_path.core.standard_path import StandardPath
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.runtime.tasks import every
from streams.settings import Settings

__all__ = ["WarmPool", "reported"]

logger = logging.getLogger(__name__)

_USE = [field.name for field in fields(InstanceUse)]
_REPORT_S = 0.05
_AGAIN_S = 1.0
_RENEW_S = 5.0  # so often all that serves is reported, so that a lost report does no harm


class WarmPool:
    """Claims, the standard path, and what keeps them true.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    pool
        Whose instances.
    queue
        Most requests that wait for one constituent.
    observe
        Takes news of an instance in instead of `claims.observe`.
    """

    def __init__(
        self,
        settings: Settings,
        pool: str,
        queue: int,
        observe: Callable[[Instance], None] | None = None,
    ) -> None:
        self._url = settings.provisioner.rstrip("/")
        self._queue = queue
        self._watch = CatalogAndInstanceWatch(settings)
        self.claims = InstanceClaims(pool, self.concurrency)
        self._take = observe or self.claims.observe

    @property
    def catalog(self) -> Catalog:
        """The catalogue as it stands."""
        return self._watch.catalog

    def concurrency(self, service: str) -> int:
        """How many requests an instance of a constituent serves at once."""
        found = self.catalog.constituents.get(service)
        return found.concurrency if found else 1

    async def open(self, session: aiohttp.ClientSession) -> None:
        """Read what there is."""
        self._session = session
        self.standard = StandardPath(
            self.claims, session, self._url, concurrency=self.concurrency, queue=self._queue
        )
        await self._watch.open()
        self._observe(self._watch.news())

    def work(self, changed: Callable[[], None] = lambda: None) -> list[Awaitable[Any]]:
        """What is to run while it is used; `changed` is called when the catalogue was."""
        return [
            self._watch.follow_catalog(changed),
            self._watch.follow_instances(self._observe),
            every(_REPORT_S, self._report),
            every(_RENEW_S, self._renew),
        ]

    async def close(self) -> None:
        """Tell what was not told yet, and let go."""
        await self.standard.close()
        await self._report()
        self._watch.close()

    def _observe(self, news: Iterable[Instance]) -> None:
        for instance in news:
            self._take(instance)

    async def _report(self) -> None:
        await self._tell(self.claims.reports())

    async def _renew(self) -> None:
        await self._tell(self.claims.reports(everything=True))

    async def _tell(self, uses: list[InstanceUse]) -> None:
        """Report use to the provisioner; what does not arrive is reported with the next."""
        if not uses:
            return
        body = reported(uses)
        limit = aiohttp.ClientTimeout(total=2)
        try:
            async with self._session.post(f"{self._url}/use", json=body, timeout=limit) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError):
            self.claims.unreport(uses)
            await asyncio.sleep(_AGAIN_S)  # what is to be told grows meanwhile


def reported(uses: Iterable[InstanceUse]) -> dict[str, Any]:
    """A report of use, for the provisioner."""
    # `asdict` copies each value deeply, which takes six times as long.
    return {"uses": [{name: getattr(use, name) for name in _USE} for use in uses]}
