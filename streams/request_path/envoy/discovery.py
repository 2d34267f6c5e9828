"""Envoy's aggregated discovery service (ADS: xDS, state of the world)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import any_pb2

__all__ = [
    "CLUSTERS",
    "ENDPOINTS",
    "LISTENERS",
    "ROUTES",
    "AggregatedDiscoveryService",
    "DiscoveryStream",
    "ResourceSnapshot",
    "packed",
]

logger = logging.getLogger(__name__)

_TYPE = "type.googleapis.com/envoy.config"
CLUSTERS = f"{_TYPE}.cluster.v3.Cluster"
ENDPOINTS = f"{_TYPE}.endpoint.v3.ClusterLoadAssignment"
LISTENERS = f"{_TYPE}.listener.v3.Listener"
ROUTES = f"{_TYPE}.route.v3.RouteConfiguration"
# Make before break: what is referred to is sent before what refers to it.
_ORDER = (CLUSTERS, ENDPOINTS, LISTENERS, ROUTES)
_DEPENDENT = {CLUSTERS: (ENDPOINTS,), LISTENERS: (ROUTES,)}
_COMPLETE = {CLUSTERS, LISTENERS}  # a response that leaves out a resource deletes it
_MOST_TOLD = 1_000  # characters of what Envoy says is wrong, which may hold a whole configuration


class ResourceSnapshot:
    """The current resources, each with the version in which it changed last."""

    def __init__(self) -> None:
        # Versions of an earlier process are never used again.
        self._version = time.time_ns()
        self._resources: dict[str, dict[str, tuple[int, any_pb2.Any]]] = {k: {} for k in _ORDER}
        self._subscribers: set[asyncio.Event] = set()
        self.acks = 0
        self.nacks = 0

    def put(self, kind: str, resources: Mapping[str, Any], *, complete: bool = False) -> None:
        """Set resources of a kind, by name; with `complete` all others are deleted.

        A resource is a message, or an `Any` that holds it.
        """
        now = self._resources[kind]
        values = {name: packed(resource) for name, resource in resources.items()}
        new = {
            name: value
            for name, value in values.items()
            if name not in now or now[name][1] != value
        }
        deleted = now.keys() - values.keys() if complete else set()
        if not new and not deleted:
            return
        self._version += 1
        now |= {name: (self._version, value) for name, value in new.items()}
        for name in deleted:
            del now[name]
        if deleted and kind in _COMPLETE:  # the others are sent again without the deleted ones
            now |= {name: (self._version, value) for name, (_, value) in now.items()}
        for event in self._subscribers:
            event.set()

    def since(
        self, kind: str, sent: Mapping[str, int], names: Iterable[str]
    ) -> dict[str, tuple[int, any_pb2.Any]]:
        """Which of these resources are newer than those sent; of complete kinds all, if one is."""
        now = self._resources[kind]
        wanted = now.keys() if kind in _COMPLETE else now.keys() & set(names)
        newer = {name for name in wanted if sent.get(name) != now[name][0]}
        if kind in _COMPLETE:
            newer = set(wanted) if newer else set()
        return {name: now[name] for name in newer}

    def subscribe(self) -> asyncio.Event:
        """An event that is set at each change, until it is given to `unsubscribe`."""
        event = asyncio.Event()
        self._subscribers.add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Do not set this event any more."""
        self._subscribers.discard(event)


class AggregatedDiscoveryService(
    ads_pb2_grpc.AggregatedDiscoveryServiceServicer  # type: ignore[misc]  # untyped
):
    """One stream per Envoy: it subscribes to resources, and receives every change of them.

    Parameters
    ----------
    snapshot
        The resources.
    """

    def __init__(self, snapshot: ResourceSnapshot) -> None:
        self._snapshot = snapshot

    async def StreamAggregatedResources(  # noqa: N802  # named by the protocol
        self, requests: AsyncIterator[Any], context: Any
    ) -> None:
        """Serve one Envoy until it disconnects."""
        stream = DiscoveryStream(self._snapshot)
        wake = self._snapshot.subscribe()
        reading = asyncio.create_task(stream.read(requests, wake))
        try:
            while not reading.done():
                for response in stream.responses():
                    await context.write(response)
                await wake.wait()
                wake.clear()
            reading.result()
        finally:
            self._snapshot.unsubscribe(wake)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)  # asked for, or it is logged


class DiscoveryStream:
    """The subscriptions of one Envoy, and the versions that it was sent."""

    def __init__(self, snapshot: ResourceSnapshot) -> None:
        self._snapshot = snapshot
        self._subscribed: dict[str, set[str]] = {}
        self._sent: dict[str, dict[str, int]] = {kind: {} for kind in _ORDER}
        self._nonce = 0

    async def read(self, requests: AsyncIterator[Any], wake: asyncio.Event) -> None:
        """Handle Envoy's requests until it disconnects."""
        try:
            async for request in requests:
                self._handle(request)
                wake.set()
        finally:
            wake.set()

    def _handle(self, request: Any) -> None:
        kind = request.type_url
        if kind not in self._sent:
            return
        if request.HasField("error_detail"):
            self._snapshot.nacks += 1
            extra = {"action": "refused", "kind": kind}
            message = request.error_detail.message[:_MOST_TOLD]
            logger.warning("Envoy rejected its configuration: %s", message, extra=extra)
        elif request.response_nonce:
            self._snapshot.acks += 1
        names = set(request.resource_names)
        for name in names - self._subscribed.get(kind, set()):
            self._sent[kind].pop(name, None)
        self._subscribed[kind] = names

    def responses(self) -> Iterator[Any]:
        """The changes that were not sent yet, in the order in which Envoy can apply them."""
        for kind in _ORDER:
            if kind not in self._subscribed:
                continue
            newer = self._snapshot.since(kind, self._sent[kind], self._subscribed[kind])
            if not newer:
                continue
            self._sent[kind] |= {name: version for name, (version, _) in newer.items()}
            # A changed cluster or listener waits until its endpoints or routes are sent again.
            for dependent in _DEPENDENT.get(kind, ()):
                self._sent[dependent].clear()
            self._nonce += 1
            yield discovery_pb2.DiscoveryResponse(
                version_info=str(max(version for version, _ in newer.values())),
                type_url=kind,
                nonce=str(self._nonce),
                resources=[resource for _, resource in newer.values()],
            )


def packed(message: Any) -> any_pb2.Any:
    """A message as an `Any`, which it may be already; equal messages have equal bytes."""
    if isinstance(message, any_pb2.Any):
        return message
    made = any_pb2.Any()
    made.Pack(message, deterministic=True)
    return made
