from __future__ import annotations

from typing import Any

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2

from streams.records import Instance, InstanceState
from streams.request_path.envoy.endpoints import EndpointTable


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
    packed = endpoints.assignment("a", exclusive=lease)
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

    assert endpoints.prune(["a-1"]) == set()
    assert ports(endpoints, lease=True) == [[99], [1234]]
    assert endpoints.prune(["a-1"]) == {"a"}
    assert ports(endpoints, lease=True) == [[99], []]


def test_an_instance_at_the_address_of_one_that_ended_takes_its_place() -> None:
    endpoints = EndpointTable("default", ("127.0.0.1", 99))
    endpoints.observe(instance(InstanceState.WARM))
    endpoints.observe(instance(InstanceState.GONE))
    endpoints.observe(instance(InstanceState.WARM, name="a-2"))
    for _ in range(2):
        endpoints.prune(["a-1", "a-2"])

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

    assert endpoints.prune([]) == {"a"}
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
