"""Aggregated discovery service (xDS, state of the world): what Envoys are told, and when."""

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
]

logger = logging.getLogger(__name__)

_TYPE = "type.googleapis.com/envoy.config"
CLUSTERS = f"{_TYPE}.cluster.v3.Cluster"
ENDPOINTS = f"{_TYPE}.endpoint.v3.ClusterLoadAssignment"
LISTENERS = f"{_TYPE}.listener.v3.Listener"
ROUTES = f"{_TYPE}.route.v3.RouteConfiguration"
# What is referred to comes before what refers to it.
ORDER = (CLUSTERS, ENDPOINTS, LISTENERS, ROUTES)
_BELOW = {CLUSTERS: (ENDPOINTS,), LISTENERS: (ROUTES,)}
_WHOLE = {CLUSTERS, LISTENERS}  # a resource that is left out is taken away


class ResourceSnapshot:
    """The resources as they stand, each with the version in which it changed."""

    def __init__(self) -> None:
        # Versions of an earlier life of the process are never met again.
        self._version = time.time_ns()
        self._resources: dict[str, dict[str, tuple[int, any_pb2.Any]]] = {k: {} for k in ORDER}
        self._changed: set[asyncio.Event] = set()
        self.accepted = 0  # answers that an Envoy took
        self.refused = 0  # answers that an Envoy did not take

    def put(self, kind: str, resources: Mapping[str, Any], *, whole: bool = False) -> None:
        """Set resources of a kind, by name; with `whole` there are no others.

        A resource is a message, or an `Any` that holds it.
        """
        now = self._resources[kind]
        packed = {name: _packed(resource) for name, resource in resources.items()}
        new = {
            name: value
            for name, value in packed.items()
            if name not in now or now[name][1] != value
        }
        gone = now.keys() - packed.keys() if whole else set()
        if not new and not gone:
            return
        self._version += 1
        now |= {name: (self._version, value) for name, value in new.items()}
        for name in gone:
            del now[name]
        if gone and kind in _WHOLE:  # the rest has to be said again without it
            now |= {name: (self._version, value) for name, (_, value) in now.items()}
        for event in self._changed:
            event.set()

    def since(
        self, kind: str, sent: Mapping[str, int], names: Iterable[str]
    ) -> dict[str, tuple[int, any_pb2.Any]]:
        """What of these is newer than what was sent; of some kinds all, when one is."""
        now = self._resources[kind]
        wanted = now.keys() if kind in _WHOLE else now.keys() & set(names)
        newer = {name for name in wanted if sent.get(name) != now[name][0]}
        if kind in _WHOLE:
            newer = set(wanted) if newer else set()
        return {name: now[name] for name in newer}

    def watch(self) -> asyncio.Event:
        """An event that each change sets; to be given to `unwatch` in the end."""
        event = asyncio.Event()
        self._changed.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """Set it no more."""
        self._changed.discard(event)


class AggregatedDiscoveryService(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]  # untyped
    """One stream an Envoy: it says what it wants, and is told of every change.

    Parameters
    ----------
    snapshot
        What there is to tell.
    """

    def __init__(self, snapshot: ResourceSnapshot) -> None:
        self._snapshot = snapshot

    async def StreamAggregatedResources(  # noqa: N802  # named by the protocol
        self, requests: AsyncIterator[Any], context: Any
    ) -> None:
        """Serve one Envoy until it goes."""
        stream = DiscoveryStream(self._snapshot)
        wake = self._snapshot.watch()
        reading = asyncio.create_task(stream.read(requests, wake))
        try:
            while not reading.done():
                for answer in stream.answers():
                    await context.write(answer)
                await wake.wait()
                wake.clear()
        finally:
            self._snapshot.unwatch(wake)
            reading.cancel()


class DiscoveryStream:
    """What one Envoy wants, and what it was sent."""

    def __init__(self, snapshot: ResourceSnapshot) -> None:
        self._snapshot = snapshot
        self._wanted: dict[str, set[str]] = {}
        self._sent: dict[str, dict[str, int]] = {kind: {} for kind in ORDER}
        self._answers = 0

    async def read(self, requests: AsyncIterator[Any], wake: asyncio.Event) -> None:
        """Take in what Envoy says, until it goes."""
        try:
            async for request in requests:
                self._take(request)
                wake.set()
        finally:
            wake.set()

    def _take(self, request: Any) -> None:
        kind = request.type_url
        if kind not in self._sent:
            return
        if request.HasField("error_detail"):
            self._snapshot.refused += 1
            told = {"action": "refused", "kind": kind}
            logger.warning("Envoy refused: %s", request.error_detail.message, extra=told)
        elif request.response_nonce:
            self._snapshot.accepted += 1
        names = set(request.resource_names)
        for name in names - self._wanted.get(kind, set()):
            self._sent[kind].pop(name, None)
        self._wanted[kind] = names

    def answers(self) -> Iterator[Any]:
        """What has changed since it was sent, in the order in which Envoy can use it."""
        for kind in ORDER:
            if kind not in self._wanted:
                continue
            newer = self._snapshot.since(kind, self._sent[kind], self._wanted[kind])
            if not newer:
                continue
            self._sent[kind] |= {name: version for name, (version, _) in newer.items()}
            # A cluster or listener that was changed waits for what belongs to it, again.
            for below in _BELOW.get(kind, ()):
                self._sent[below].clear()
            self._answers += 1
            yield discovery_pb2.DiscoveryResponse(
                version_info=str(max(version for version, _ in newer.values())),
                type_url=kind,
                nonce=str(self._answers),
                resources=[resource for _, resource in newer.values()],
            )


def _packed(message: Any) -> any_pb2.Any:
    if isinstance(message, any_pb2.Any):
        return message
    packed = any_pb2.Any()
    packed.Pack(message, deterministic=True)
    return packed
