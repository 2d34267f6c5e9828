from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2

from streams.records import Instance, InstanceState
from streams.request_path.envoy.discovery import (
    CLUSTERS,
    ENDPOINTS,
    DiscoveryStream,
    ResourceSnapshot,
)
from streams.request_path.envoy.endpoints import EndpointTable
from streams.request_path.envoy.usage import UsageCounter


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
    return [(answer.type_url.rpartition(".")[2], len(answer.resources)) for answer in one.answers()]


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
    snapshot.put(CLUSTERS, clusters("a"), whole=True)

    assert said(envoy) == []


async def test_a_cluster_that_is_gone_is_left_out_of_the_next_whole() -> None:
    snapshot = ResourceSnapshot()
    snapshot.put(CLUSTERS, clusters("a", "b"))
    envoy = await stream(snapshot, (CLUSTERS, ()))
    assert said(envoy) == [("Cluster", 2)]
    snapshot.put(CLUSTERS, clusters("a"), whole=True)

    assert said(envoy) == [("Cluster", 1)]


async def test_a_changed_cluster_is_told_its_endpoints_again() -> None:
    snapshot = ResourceSnapshot()
    snapshot.put(CLUSTERS, clusters("a"))
    snapshot.put(ENDPOINTS, assignment("a"))
    envoy = await stream(snapshot, (CLUSTERS, ()), (ENDPOINTS, ["a"]))
    assert len(said(envoy)) == 2
    snapshot.put(CLUSTERS, {"a": cluster_pb2.Cluster(name="a", alt_stat_name="x")})

    assert said(envoy) == [("Cluster", 1), ("ClusterLoadAssignment", 1)]


def instance(
    state: InstanceState, endpoint: str = "http://127.0.0.1:1234", name: str = "a-1"
) -> Instance:
    return Instance(
        instance_id=name,
        service="a",
        pool="default",
        state=state,
        endpoint=endpoint,
        command_id="c",
        started_ms=0,
        changed_ms=0,
    )


def told(endpoints: EndpointTable, *, lease: bool) -> Any:
    packed = endpoints.assignment("a", lease=lease)
    made = endpoint_pb2.ClusterLoadAssignment()
    assert packed.Unpack(made)
    return made


def ports(endpoints: EndpointTable, *, lease: bool) -> list[list[int]]:
    return [
        [x.endpoint.address.socket_address.port_value for x in group.lb_endpoints]
        for group in told(endpoints, lease=lease).endpoints
    ]


@pytest.mark.parametrize(
    ("state", "pool", "lease"),
    [
        (InstanceState.STARTING, [[], [99]], [[99], []]),
        (InstanceState.WARM, [[1234], [99]], [[99], [1234]]),
        (InstanceState.BUSY, [[], [99]], [[99], [1234]]),
        (InstanceState.DRAINING, [[], [99]], [[99], [1234]]),
        (InstanceState.GONE, [[], [99]], [[99], [1234]]),
    ],
)
def test_who_is_sent_requests_in_each_state(
    state: InstanceState, pool: list[list[int]], lease: list[list[int]]
) -> None:
    endpoints = EndpointTable("default", ("127.0.0.1", 99))
    endpoints.observe(instance(InstanceState.WARM))
    endpoints.observe(instance(state))
    if state is InstanceState.STARTING:
        endpoints = EndpointTable("default", ("127.0.0.1", 99))
        endpoints.observe(instance(state))

    assert (ports(endpoints, lease=False), ports(endpoints, lease=True)) == (pool, lease)


def test_a_leased_instance_that_ended_is_reached_for_a_moment_and_then_forgotten() -> None:
    endpoints = EndpointTable("default", ("127.0.0.1", 99))
    endpoints.observe(instance(InstanceState.WARM))
    endpoints.observe(instance(InstanceState.DRAINING))

    assert endpoints.forget(["a-1"]) == set()
    assert ports(endpoints, lease=True) == [[99], [1234]]
    assert endpoints.forget(["a-1"]) == {"a"}
    assert ports(endpoints, lease=True) == [[99], []]


def test_an_instance_at_the_address_of_one_that_ended_takes_its_place() -> None:
    endpoints = EndpointTable("default", ("127.0.0.1", 99))
    endpoints.observe(instance(InstanceState.WARM))
    endpoints.observe(instance(InstanceState.GONE))
    endpoints.observe(instance(InstanceState.WARM, name="a-2"))
    for _ in range(2):
        endpoints.forget(["a-1", "a-2"])

    assert ports(endpoints, lease=True) == [[99], [1234]]
    [member] = told(endpoints, lease=True).endpoints[1].lb_endpoints
    assert member.metadata.filter_metadata["envoy.lb"]["instance"] == "a-2"


def test_every_priority_is_told_with_its_number_also_when_it_is_empty() -> None:
    endpoints = EndpointTable("default", ("127.0.0.1", 99))

    assert [group.priority for group in told(endpoints, lease=False).endpoints] == [0, 1]
    assert told(endpoints, lease=False).cluster_name == "a"


def test_an_instance_whose_record_was_deleted_is_forgotten() -> None:
    endpoints = EndpointTable("default", ("127.0.0.1", 99))
    endpoints.observe(instance(InstanceState.WARM))

    assert endpoints.forget([]) == {"a"}
    assert ports(endpoints, lease=False) == [[], [99]]


def test_an_endpoint_that_is_no_address_is_left_out() -> None:
    endpoints = EndpointTable("default", ("127.0.0.1", 99))

    assert not endpoints.observe(instance(InstanceState.WARM, "http://host.example:80"))


def test_a_base_serves_nothing_and_nobody_is_warned_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endpoints = EndpointTable("default", ("127.0.0.1", 99))

    assert not endpoints.observe(instance(InstanceState.WARM, endpoint=""))
    assert not caplog.records


def test_an_instance_is_in_use_until_it_was_quiet_for_a_while() -> None:
    usage = UsageCounter("http://127.0.0.1:1")
    usage.add("a-1", 5)
    usage.add("a-1", 7)
    reports = [usage.news() for _ in range(6)]

    assert [(u.in_flight, u.uses, u.busy_ms) for u in reports[0]] == [(1, 2, 12)]
    assert [u.in_flight for news in reports[1:] for u in news] == [0]
