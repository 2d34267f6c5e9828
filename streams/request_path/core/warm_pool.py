"""The warm instances of a pool, kept current: followed from Kafka, claimed, reported on."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import aiohttp

from streams.adapters.metrics.endpoint import before_scrape
from streams.adapters.metrics.table import CONSTITUENTS, QUEUE_LENGTH
from streams.provisioners.core.interface import InstanceUse
from streams.records import Instance
from streams.records.catalog import Catalog
from streams.request_path.core.claims import InstanceClaims
from streams.request_path.core.provisioner_client import ProvisionerClient
from streams.request_path.core.standard_path import StandardPath
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch, nothing
from streams.request_path.core.unanswered import UnansweredInstances
from streams.runtime.tasks import every
from streams.settings import Settings

__all__ = ["WarmPool", "open_warm_pool"]

_REPORT_S = 0.05
_RETRY_S = 1.0
_RENEW_S = 5.0  # how often every serving instance is reported, so that a lost report does no harm


@contextlib.asynccontextmanager
async def open_warm_pool(
    settings: Settings, session: aiohttp.ClientSession, *, pool: str, queue: int
) -> AsyncIterator[WarmPool]:
    """A pool whose catalogue and instances have been read; closed in the end.

    Parameters
    ----------
    settings
        Where Kafka and the provisioner are.
    session
        Connections to the provisioner and to instances.
    pool
        Its name.
    queue
        Most requests that wait for one constituent.
    """
    watch = await CatalogAndInstanceWatch.open(settings)
    provisioner = ProvisionerClient(session, settings)
    warm = WarmPool(watch, provisioner, session, pool=pool, queue=queue)
    before_scrape(warm.tell)
    try:
        yield warm
    finally:
        await warm.close()


class WarmPool:
    """Claims of instances, the standard path, and the work that keeps them current.

    Parameters
    ----------
    watch
        The catalogue and the instances.
    provisioner
        Starts instances, and receives reports of their use.
    session
        Connections to instances.
    pool
        Name of the pool.
    queue
        Most requests that wait for one constituent.
    """

    def __init__(
        self,
        watch: CatalogAndInstanceWatch,
        provisioner: ProvisionerClient,
        session: aiohttp.ClientSession,
        *,
        pool: str,
        queue: int,
    ) -> None:
        self._watch = watch
        self._provisioner = provisioner
        self.claims = InstanceClaims(pool, watch.concurrency)
        self.unanswered = UnansweredInstances(self.claims, session, watch.health)
        self.standard_path = StandardPath(
            self.claims, provisioner, concurrency=watch.concurrency, queue=queue
        )

    @property
    def catalog(self) -> Catalog:
        """The current catalogue."""
        return self._watch.catalog

    def start(
        self,
        observe: Callable[[Instance], None] | None = None,
        changed: Callable[[], Awaitable[None]] = nothing,
    ) -> list[Awaitable[Any]]:
        """Observe the instances read so far; returns the work to run while the pool is used.

        Parameters
        ----------
        observe
            Called with each changed instance, in place of `claims.observe`.
        changed
            Awaited after each change of the catalogue.
        """
        observe = observe or self.claims.observe

        def observe_all(instances: Iterable[Instance]) -> None:
            for instance in instances:
                observe(instance)

        observe_all(self._watch.take_changed())
        return [
            self._watch.follow_catalog(changed),
            self._watch.follow_instances(observe_all),
            every(_REPORT_S, self._report),
            every(_RENEW_S, self._renew),
        ]

    async def close(self) -> None:
        """Send the last reports, and close the connections."""
        await self.standard_path.close()
        await self.unanswered.close()
        await self._report()
        self._watch.close()

    def tell(self) -> None:
        """Set how many requests wait."""
        lengths = Counter[str]()
        for name, length in self.claims.queue_lengths().items():
            lengths[CONSTITUENTS(name)] += length
        for label, length in lengths.items():
            QUEUE_LENGTH.labels(label).set(length)

    async def _report(self) -> None:
        await self._send(self.claims.collect_reports())

    async def _renew(self) -> None:
        await self._send(self.claims.collect_reports(everything=True))

    async def _send(self, uses: list[InstanceUse]) -> None:
        """Report use to the provisioner; what does not arrive is added to the next report."""
        if left := await self._provisioner.report(uses):
            self.claims.restore_reports(left)
            await asyncio.sleep(_RETRY_S)  # the next report gathers what happens meanwhile
