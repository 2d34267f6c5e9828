from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from envoy.service.accesslog.v3 import als_pb2
from test_claims import claims, instance, took

from streams.records import InstanceState
from streams.request_path.core.claims import ClaimableInstance, InstanceClaims
from streams.request_path.core.headers import CONSTITUENT_HEADER
from streams.request_path.envoy.leases import LeaseTable


def taken(free: InstanceClaims) -> ClaimableInstance:
    lease = free.claim("a")
    assert lease is not None
    return lease


def table(free: InstanceClaims) -> LeaseTable:
    return LeaseTable(free, lambda claimed, _: free.release_unused(claimed))


def test_an_instance_whose_request_has_ended_is_free_again() -> None:
    free = claims("x")
    leases = table(free)
    leases.add("r/a", taken(free), 10_000)
    assert free.claim("a") is None
    leases.release("r/a", "x", 5)

    assert took(free.claim("a")) == "x"


def test_of_two_requests_of_one_id_each_ends_its_own_lease() -> None:
    free = claims("x", "y")
    leases = table(free)
    first, second = taken(free), taken(free)
    leases.add("r/a", first, 10_000)
    leases.add("r/a", second, 10_000)
    leases.release("r/a", second.instance.instance_id, 5)

    assert (first.in_flight, second.in_flight) == (1, 0)


async def test_an_instance_that_envoy_did_not_reach_is_not_given_again_at_once() -> None:
    free = claims("x")
    leases = table(free)
    leases.add("r/a", taken(free), 10_000)
    leases.release("r/a", "", 0)

    assert free.claim("a") is None


def test_an_instance_that_owes_an_answer_is_not_free_before_that_is_known() -> None:
    free = claims("x")
    owing: list[tuple[ClaimableInstance, int]] = []
    leases = LeaseTable(free, lambda *owed: owing.append(owed))
    leases.add("r/a", taken(free), 10_000)
    leases.release("r/a", "x", 5, unanswered=True)

    assert free.claim("a") is None
    [(claimed, deadline_ms)] = owing
    assert (took(claimed), deadline_ms) == ("x", 10_000)


async def told(flag: str = "") -> AsyncIterator[als_pb2.StreamAccessLogsMessage]:
    """What Envoy says of the end of a request, with one of its flags."""
    message = als_pb2.StreamAccessLogsMessage()
    entry = message.http_logs.log_entry.add()
    entry.request.request_id = "r"
    entry.request.request_headers[CONSTITUENT_HEADER] = "a"
    entry.common_properties.custom_tags["instance"] = "x"
    if flag:
        setattr(entry.common_properties.response_flags, flag, True)
    yield message


@pytest.mark.parametrize(
    ("flag", "owed"),
    [
        ("upstream_request_timeout", True),
        ("stream_idle_timeout", True),
        ("downstream_connection_termination", True),
        ("downstream_remote_reset", True),
        ("upstream_remote_reset", False),
        ("", False),
    ],
)
async def test_an_answer_is_owed_where_envoy_gave_up_waiting_or_its_client_left(
    flag: str, *, owed: bool
) -> None:
    free = claims("x")
    leases = LeaseTable(free, lambda *_: None)
    leases.add("r/a", taken(free), 10_000)
    await leases.StreamAccessLogs(told(flag), None)

    assert (free.claim("a") is None) == owed


def test_an_instance_of_whose_request_nothing_was_heard_owes_an_answer_after_the_deadline() -> None:
    free = claims("x")
    owing: list[tuple[ClaimableInstance, int]] = []
    leases = LeaseTable(free, lambda *owed: owing.append(owed))
    leases.add("r/a", taken(free), 10_000)
    leases.expire(11_000)
    assert not owing
    leases.expire(11_001)

    [(claimed, deadline_ms)] = owing
    assert (took(claimed), deadline_ms, len(leases)) == ("x", 10_000, 0)


def test_a_dead_instance_is_given_to_nobody() -> None:
    free = claims("x")
    leases = table(free)
    leases.add("r/a", taken(free), 10_000)
    leases.release("r/a", "x", 0, lost=True)

    assert free.claim("a") is None


def test_an_instance_of_another_process_is_known_and_not_claimed() -> None:
    free = claims("x")
    free.observe_foreign(instance("y"))
    assert set(free.known("a")) == {"x", "y"}
    free.observe_foreign(instance("y", state=InstanceState.GONE))

    assert free.known("a") == ["x"]
    assert took(free.claim("a")) == "x"
    assert free.claim("a") is None
