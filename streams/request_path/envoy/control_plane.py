"""The control plane as a process: catalogue and instances in, Envoy's resources out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc

from streams.adapters import metrics
from streams.errors import BrokerUnreachable
from streams.records import Instance
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.request_path.envoy import messages
from streams.request_path.envoy.addresses import MeshAddresses, RoutePolicy, resolve
from streams.request_path.envoy.clusters import clusters, is_exclusive
from streams.request_path.envoy.discovery import (
    CLUSTERS,
    ENDPOINTS,
    LISTENERS,
    ROUTES,
    AggregatedDiscoveryService,
    ResourceSnapshot,
)
from streams.request_path.envoy.endpoints import EndpointTable
from streams.request_path.envoy.listeners import listeners
from streams.request_path.envoy.routes import routes
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings

__all__ = ["ControlPlane"]

logger = logging.getLogger(__name__)

_END_S = 1.0
_FORGET_S = 1.0


class ControlPlane:
    """Keeps Envoys informed of one pool.

    Parameters
    ----------
    settings
        Where Kafka is.
    places, policy
        What Envoy is told of where things are, and what holds for requests.
    """

    def __init__(self, settings: Settings, places: MeshAddresses, policy: RoutePolicy) -> None:
        self._settings = settings
        self._places = places
        self._policy = policy
        self._watch = CatalogAndInstanceWatch(settings)
        self._endpoints = EndpointTable(policy.pool, resolve(places.activate))
        self.snapshot = ResourceSnapshot()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Envoys go on with what they were told last."""
        metrics.serve(self._settings.metrics_port)
        # All is known before the first Envoy is answered: half of it would take the rest away.
        await self._open(stop)
        if stop.is_set():
            return
        self._set_catalog()
        self._observe(self._watch.news())
        server = grpc.aio.server()
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(
            AggregatedDiscoveryService(self.snapshot), server
        )
        server.add_insecure_port(self._places.control)
        await server.start()
        logger.info("Envoys are told at %s", self._places.control, extra={"action": "open"})
        work = [
            self._watch.follow_catalog(self._set_catalog),
            self._watch.follow_instances(self._observe),
            every(_FORGET_S, self._forget),
        ]
        try:
            await first_to_end(work, stop)
        finally:
            await server.stop(_END_S)
            self._watch.close()

    async def _open(self, stop: asyncio.Event) -> None:
        """Read what there is, however long Kafka is away: Envoys do without us meanwhile."""
        while not stop.is_set():
            try:
                await self._watch.open()
            except BrokerUnreachable as error:
                logger.warning("%s; trying again", error, extra={"action": "kafka_away"})
            else:
                return

    def _set_catalog(self) -> None:
        catalog = self._watch.catalog
        self._put(CLUSTERS, messages.cluster, clusters(catalog, self._places))
        self._put(LISTENERS, messages.listener, listeners(self._places, self._policy))
        self._put(ROUTES, messages.route_configuration, routes(catalog, self._policy))
        self._publish(catalog.constituents)

    def _put(
        self, kind: str, made: Callable[[dict[str, Any]], Any], told: Iterable[dict[str, Any]]
    ) -> None:
        self.snapshot.put(kind, {item["name"]: made(item) for item in told}, whole=True)

    def _observe(self, news: Iterable[Instance]) -> None:
        changed = {instance.service for instance in news if self._endpoints.observe(instance)}
        self._publish(changed)

    async def _forget(self) -> None:
        """Drop instances that the topic has no more; their end was told before, unless missed."""
        self._publish(self._endpoints.forget(self._watch.instances))

    def _publish(self, services: Iterable[str]) -> None:
        known = self._watch.catalog.constituents
        self.snapshot.put(
            ENDPOINTS,
            {
                name: self._endpoints.assignment(name, lease=is_exclusive(known[name]))
                for name in services
                if name in known
            },
        )
