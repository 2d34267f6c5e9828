"""The control plane: turns the catalogue and the instances of a pool into Envoy's configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from envoy.service.discovery.v3 import ads_pb2_grpc
from google.protobuf import any_pb2

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.adapters.metrics import endpoint
from streams.errors import BrokerUnreachable
from streams.records import Instance
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.request_path.envoy import messages
from streams.request_path.envoy.addresses import MeshAddresses, resolve
from streams.request_path.envoy.clusters import clusters, is_exclusive
from streams.request_path.envoy.discovery import (
    CLUSTERS,
    ENDPOINTS,
    LISTENERS,
    ROUTES,
    AggregatedDiscoveryService,
    ResourceSnapshot,
    packed,
)
from streams.request_path.envoy.endpoints import EndpointTable
from streams.request_path.envoy.listeners import listeners
from streams.request_path.envoy.policy import RoutePolicy
from streams.request_path.envoy.routes import routes
from streams.runtime.access import loopback_only
from streams.runtime.grpc_serving import grpc_server
from streams.runtime.serving import binding
from streams.runtime.tasks import every, first_to_end
from streams.settings import Settings

__all__ = ["ControlPlane", "serve_control_plane"]

logger = logging.getLogger(__name__)

EnvoyResources = dict[str, dict[str, any_pb2.Any]]  # by kind and name

_STOP_S = 1.0
_PRUNE_S = 1.0


async def serve_control_plane(
    settings: Settings, addresses: MeshAddresses, policy: RoutePolicy, stop: asyncio.Event
) -> None:
    """Configure Envoys for one pool until `stop` is set; they keep their last configuration.

    Parameters
    ----------
    settings
        Where Kafka is.
    addresses, policy
        The addresses that Envoy is given, and what applies to every request.
    stop
        Ends the process.
    """
    at = loopback_only(addresses.control, "control plane")
    loopback_only(addresses.inner, "inner listener of Envoy")
    listens = asyncio.Event()
    port, host = settings.metrics_port, settings.metrics_host
    endpoint.serve("mesh control", port, host, ready=listens.is_set)
    BrokerWatch(settings).start()
    endpoints = EndpointTable(policy.pool, resolve(addresses.activate))
    # Everything is read before the first Envoy connects: a partial snapshot would delete the rest.
    watch = await _open_watch(settings, stop)
    if watch is None:
        return
    plane = ControlPlane(watch, endpoints, addresses, policy)
    server = grpc_server()
    service = AggregatedDiscoveryService(plane.snapshot)
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(service, server)
    with binding(at):
        server.add_insecure_port(at.address)
    await server.start()
    listens.set()
    logger.info("The control plane listens on %s", at.address, extra={"action": "open"})
    work = [
        watch.follow_catalog(plane.update_catalog),
        watch.follow_instances(plane.observe),
        every(_PRUNE_S, plane.prune),
    ]
    try:
        await first_to_end(work, stop)
    finally:
        await server.stop(_STOP_S)
        watch.close()


async def _open_watch(settings: Settings, stop: asyncio.Event) -> CatalogAndInstanceWatch | None:
    """Retry for as long as Kafka is unreachable: Envoys keep their configuration meanwhile."""

    def retry(error: BrokerUnreachable) -> bool:
        logger.warning("%s; trying again", error, extra={"action": "kafka_away"})
        return not stop.is_set()

    try:
        return await CatalogAndInstanceWatch.open(settings, retry=retry)
    except BrokerUnreachable:
        return None


class ControlPlane:
    """Keeps a snapshot of Envoy's resources equal to the catalogue and the instances of a pool.

    Parameters
    ----------
    watch
        The catalogue and the instances.
    endpoints
        Those of the pool.
    addresses, policy
        The addresses that Envoy is given, and what applies to every request.
    """

    def __init__(
        self,
        watch: CatalogAndInstanceWatch,
        endpoints: EndpointTable,
        addresses: MeshAddresses,
        policy: RoutePolicy,
    ) -> None:
        self._watch = watch
        self._addresses = addresses
        self._policy = policy
        self._endpoints = endpoints
        self.snapshot = ResourceSnapshot()
        self._put(self._built())
        self.observe(watch.take_changed())

    async def update_catalog(self) -> None:
        """Set the resources that follow from the catalogue; Envoys are served meanwhile."""
        self._put(await asyncio.to_thread(self._built))

    def observe(self, changed: Iterable[Instance]) -> None:
        """Set the endpoints of constituents whose instances changed."""
        names = {instance.service for instance in changed if self._endpoints.observe(instance)}
        self._put_endpoints(names)

    async def prune(self) -> None:
        """Drop instances whose record was deleted; usually their end was reported before."""
        self._put_endpoints(self._endpoints.prune(self._watch.instances))

    def _built(self) -> EnvoyResources:
        """The resources that follow from the catalogue; with thousands of services it takes seconds."""
        catalog, addresses, policy = self._watch.catalog, self._addresses, self._policy
        return {
            CLUSTERS: _packed(messages.cluster, clusters(catalog, addresses)),
            LISTENERS: _packed(messages.listener, listeners(addresses, policy)),
            ROUTES: _packed(messages.route_configuration, routes(catalog, policy)),
        }

    def _put(self, resources: EnvoyResources) -> None:
        for kind, by_name in resources.items():
            self.snapshot.put(kind, by_name, complete=True)
        self._put_endpoints(self._watch.catalog.constituents)

    def _put_endpoints(self, names: Iterable[str]) -> None:
        known = self._watch.catalog.constituents
        self.snapshot.put(
            ENDPOINTS,
            {
                name: self._endpoints.assignment(name, exclusive=is_exclusive(known[name]))
                for name in names
                if name in known
            },
        )


def _packed(
    parse: Callable[[dict[str, Any]], Any], configs: Iterable[dict[str, Any]]
) -> dict[str, any_pb2.Any]:
    return {config["name"]: packed(parse(config)) for config in configs}
