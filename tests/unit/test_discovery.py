from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2

from streams.request_path.envoy.discovery import (
    CLUSTERS,
    ENDPOINTS,
    DiscoveryStream,
    ResourceSnapshot,
)


def clusters(*names: str) -> dict[str, Any]:
    return {name: cluster_pb2.Cluster(name=name) for name in names}


def assignment(name: str) -> dict[str, Any]:
    return {name: endpoint_pb2.ClusterLoadAssignment(cluster_name=name)}


async def stream(snapshot: ResourceSnapshot, *wants: tuple[str, Iterable[str]]) -> DiscoveryStream:
    made = DiscoveryStream(snapshot)

    async def requests() -> AsyncIterator[Any]:
        for kind, names in wants:
            yield discovery_pb2.DiscoveryRequest(type_url=kind, resource_names=names)

    await made.read(requests(), asyncio.Event())
    return made


def said(one: DiscoveryStream) -> list[tuple[str, int]]:
    return [
        (answer.type_url.rpartition(".")[2], len(answer.resources)) for answer in one.responses()
    ]


async def test_an_envoy_is_told_what_it_asked_for_once() -> None:
    snapshot = ResourceSnapshot()
    snapshot.put(CLUSTERS, clusters("a", "b"))
    snapshot.put(ENDPOINTS, assignment("a") | assignment("b"))
    envoy = await stream(snapshot, (CLUSTERS, ()), (ENDPOINTS, ["a"]))

    assert said(envoy) == [("Cluster", 2), ("ClusterLoadAssignment", 1)]
    assert said(envoy) == []


async def test_a_change_is_told_alone_where_the_rest_may_be_left_out() -> None:
    snapshot = ResourceSnapshot()
    snapshot.put(ENDPOINTS, assignment("a") | assignment("b"))
    envoy = await stream(snapshot, (ENDPOINTS, ["a", "b"]))
    assert said(envoy) == [("ClusterLoadAssignment", 2)]

    changed = assignment("b")
    changed["b"].endpoints.add(priority=1)
    snapshot.put(ENDPOINTS, changed)

    assert said(envoy) == [("ClusterLoadAssignment", 1)]


async def test_what_is_the_same_as_before_is_no_change() -> None:
    snapshot = ResourceSnapshot()
    snapshot.put(CLUSTERS, clusters("a"))
    envoy = await stream(snapshot, (CLUSTERS, ()))
    assert said(envoy) == [("Cluster", 1)]
    snapshot.put(CLUSTERS, clusters("a"), complete=True)

    assert said(envoy) == []


async def test_a_cluster_that_is_gone_is_left_out_of_the_next_whole() -> None:
    snapshot = ResourceSnapshot()
    snapshot.put(CLUSTERS, clusters("a", "b"))
    envoy = await stream(snapshot, (CLUSTERS, ()))
    assert said(envoy) == [("Cluster", 2)]
    snapshot.put(CLUSTERS, clusters("a"), complete=True)

    assert said(envoy) == [("Cluster", 1)]


async def test_a_changed_cluster_is_told_its_endpoints_again() -> None:
    snapshot = ResourceSnapshot()
    snapshot.put(CLUSTERS, clusters("a"))
    snapshot.put(ENDPOINTS, assignment("a"))
    envoy = await stream(snapshot, (CLUSTERS, ()), (ENDPOINTS, ["a"]))
    assert len(said(envoy)) == 2
    snapshot.put(CLUSTERS, {"a": cluster_pb2.Cluster(name="a", alt_stat_name="x")})

    assert said(envoy) == [("Cluster", 1), ("ClusterLoadAssignment", 1)]
