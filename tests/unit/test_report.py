from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from streams.records import (
    Action,
    Command,
    Instance,
    InstanceState,
    Outcome,
    Result,
    Route,
)
from streams.report.figure import draw
from streams.report.summary import FlowSummary, summarise
from streams.report.tables import as_json, iso_time, tables

NOW = 1_700_000_000_000

HIT = Outcome(
    request_id="r1",
    user="ann",
    tier="gold",
    pool="default",
    service="checkout",
    at_ms=NOW,
    result=Result.HIT,
    route=Route.PREALLOCATED,
    status=200,
    latency_ms=10.0,
    cold_ms=0,
    saved_ms=900,
    parts=(),
)
MISS = replace(
    HIT,
    request_id="r2",
    tier="standard",
    at_ms=NOW + 30_000,
    result=Result.MISS,
    route=Route.STANDARD,
    latency_ms=910.0,
    cold_ms=900,
    saved_ms=0,
)
WARM = Instance(
    instance_id="i1",
    service="pricing",
    pool="default",
    state=InstanceState.WARM,
    endpoint="http://127.0.0.1:1",
    command_id="c1",
    started_ms=NOW - 11_000,
    changed_ms=NOW - 10_000,
    warm_since_ms=NOW - 10_000,
    busy_ms=4_000,
)
COMMAND = Command(
    command_id="c1",
    pool="default",
    action=Action.PROVISION,
    service="pricing",
    count=1,
    value=1.0,
    cost=0.1,
    priority=0.0,
    issued_ms=NOW - 11_000,
    expires_ms=NOW,
    reason="",
    tier="gold",
)

OUTCOMES = st.lists(
    st.builds(
        replace,
        st.just(HIT),
        request_id=st.uuids().map(str),
        result=st.sampled_from(Result),
        route=st.sampled_from(Route),
        service=st.sampled_from("abc"),
        tier=st.sampled_from("xy"),
        pool=st.sampled_from(["default", "control"]),
        at_ms=st.integers(0, 2**40),
        latency_ms=st.floats(0, 1e5),
        saved_ms=st.integers(0, 10_000),
        cold_ms=st.integers(0, 10_000),
    ),
    max_size=10,
)


def shown(summary: FlowSummary) -> str:
    console = Console(width=80, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(*tables(summary))
    return captured.get()


@settings(max_examples=40)
@given(OUTCOMES)
def test_groups_add_up_to_the_whole(outcomes: list[Outcome]) -> None:
    summary = summarise(outcomes, [])

    assert sum(pool.total.count for pool in summary.pools.values()) == len(outcomes)
    for pool in summary.pools.values():
        total = pool.total
        assert total.hits + total.partials + total.misses == total.count
        for groups in (pool.services, pool.tiers):
            assert sum(group.count for group in groups.values()) == total.count
            assert sum(group.saved_ms for group in groups.values()) == total.saved_ms
            assert sum(group.cold_ms for group in groups.values()) == total.cold_ms


def test_an_instance_is_warm_as_far_as_the_clock_of_its_pool_goes() -> None:
    other = replace(WARM, instance_id="other", pool="other")
    clocks = {"default": NOW + 5_000, "other": NOW + 3_000}
    found = summarise([MISS], [WARM, other], clocks=clocks, until_ms=NOW + 4_000)
    since_ms = WARM.warm_since_ms or 0
    warm_s = {name: pool.instances.warm_s for name, pool in found.pools.items()}
    assert found.to_ms == NOW + 4_000
    assert warm_s == {
        "default": (NOW + 4_000 - since_ms) / 1000,
        "other": (NOW + 3_000 - since_ms) / 1000,
    }


def test_a_request_told_twice_counts_once() -> None:
    assert summarise([HIT, MISS, HIT], []).pools["default"].total.count == 2


def test_one_request_id_of_two_users_is_two_requests() -> None:
    theirs = replace(HIT, user="eve", tier="standard", at_ms=HIT.at_ms + 1)
    started = replace(WARM, command_id=f"standard/{HIT.request_id}")

    found = summarise([theirs, HIT], [started]).pools["default"]

    assert found.total.count == 2
    assert list(found.instances_by_tier) == ["gold"]


def test_pools_stand_apart() -> None:
    control = replace(MISS, request_id="r3", pool="control")

    pools = summarise([HIT, control], []).pools

    assert {name: pool.total.hits for name, pool in pools.items()} == {"control": 0, "default": 1}


def test_quantiles_lie_between_the_ranks() -> None:
    outcomes = [replace(HIT, request_id=f"r{n}", latency_ms=float(n)) for n in range(101)]

    latency = summarise(outcomes, []).pools["default"].latency["hit"]

    assert [latency.quantile(q) for q in (0.5, 0.95, 0.99)] == pytest.approx([50.0, 95.0, 99.0])


def test_what_was_only_observed_or_refused_has_no_latency_of_its_result() -> None:
    observed = replace(HIT, request_id="r3", route=Route.OBSERVED, latency_ms=0.0)
    refused = replace(MISS, request_id="r4", route=Route.REFUSED, status=503)

    pool = summarise([HIT, observed, refused], []).pools["default"]

    assert len(pool.latency["hit"]) == 1
    assert "miss" not in pool.latency
    assert len(pool.latency["refused"]) == 1
    assert len(pool.total.latency) == 1
    assert pool.total.refused == 1


def test_an_instance_that_is_not_gone_is_warm_up_to_the_newest_time_seen() -> None:
    time = summarise([HIT, MISS], [WARM], [COMMAND]).pools["default"].instances

    assert (time.instances, time.warm_s, time.used_s, time.wasted_s) == (1, 40.0, 4.0, 36.0)


def test_the_newest_record_of_an_instance_tells_its_life() -> None:
    gone = replace(WARM, state=InstanceState.GONE, changed_ms=NOW, gone_ms=NOW, busy_ms=5_000)

    time = summarise([MISS], [WARM, gone]).pools["default"].instances

    assert (time.instances, time.warm_s, time.used_s) == (1, 10.0, 5.0)


def test_instances_count_for_what_they_were_warm_of_the_time_asked_for() -> None:
    gone = replace(WARM, state=InstanceState.GONE, changed_ms=NOW, gone_ms=NOW, busy_ms=5_000)

    pools = summarise([], [WARM, gone], from_ms=NOW - 6_000, until_ms=NOW - 2_000).pools

    time = pools["default"].instances
    assert (time.instances, time.warm_s, time.used_s) == (1, 4.0, 2.0)


@pytest.mark.parametrize(
    ("outcome", "endpoint", "used_s"),
    [
        (HIT, WARM.endpoint, 4.0),
        (HIT, "", None),
        (replace(HIT, route=Route.OBSERVED), WARM.endpoint, None),
    ],
    ids=["served", "simulated", "observed"],
)
def test_use_is_known_of_real_instances_that_foremesh_served_from(
    outcome: Outcome, endpoint: str, used_s: float | None
) -> None:
    busy_ms = WARM.busy_ms if endpoint else 0
    instance = replace(WARM, changed_ms=NOW + 10_000, endpoint=endpoint, busy_ms=busy_ms)

    time = summarise([outcome], [instance]).pools["default"].instances

    assert time.warm_s == 20.0
    assert time.used_s == used_s
    assert time.wasted_s == (None if used_s is None else 16.0)


def test_a_report_of_a_log_says_what_a_log_does_not_tell() -> None:
    observed = [replace(o, route=Route.OBSERVED, latency_ms=0.0) for o in (HIT, MISS)]

    text = shown(summarise(observed, [replace(WARM, endpoint="", busy_ms=0)], [COMMAND]))

    assert "Latency of pool default: not known from a log." in text
    assert "Used and wasted of pool default: not known from a log." in text
    assert "p50 ms" not in text
    assert "used %" not in text


def test_a_report_of_a_log_with_durations_says_what_was_used() -> None:
    observed = [replace(o, route=Route.OBSERVED, latency_ms=0.0) for o in (HIT, MISS)]

    pool = summarise(observed, [replace(WARM, endpoint="")], [COMMAND]).pools["default"]

    assert pool.instances.used_s == WARM.busy_ms / 1_000


def test_a_log_beside_requests_that_were_served_hides_nothing_of_them() -> None:
    log = replace(HIT, request_id="r3", pool="log", route=Route.OBSERVED, latency_ms=0.0)
    simulated = replace(WARM, instance_id="i2", pool="log", endpoint="", busy_ms=0)

    text = shown(summarise([HIT, MISS, log], [WARM, simulated], [COMMAND]))

    assert "Latency of pool log: not known from a log." in text
    assert "Used and wasted of pool log: not known from a log." in text
    assert "p50 ms" in text
    assert "used %" in text


def test_a_real_base_has_no_address_and_hides_nothing_of_its_pool() -> None:
    base = replace(WARM, instance_id="i2", service="base", endpoint="", busy_ms=0)

    time = summarise([HIT], [WARM, base]).pools["default"].instances

    assert time.used_s is not None


def test_an_instance_never_warm_wastes_nothing() -> None:
    failed = replace(WARM, state=InstanceState.GONE, warm_since_ms=None, gone_ms=NOW)

    time = summarise([HIT], [failed]).pools["default"].instances

    assert (time.instances, time.warm_s) == (0, 0.0)


def test_the_tier_of_an_instance_is_that_of_what_started_it() -> None:
    standard = replace(WARM, instance_id="i2", command_id="standard/r2")
    unknown = replace(WARM, instance_id="i3", command_id="c9")

    pool = summarise([HIT, MISS], [WARM, standard, unknown], [COMMAND]).pools["default"]

    assert {tier: time.instances for tier, time in pool.instances_by_tier.items()} == {
        "": 1,
        "gold": 1,
        "standard": 1,
    }


def test_nothing_is_reported_of_nothing() -> None:
    summary = summarise([], [])

    assert summary.pools == {}
    assert shown(summary).strip() == "There is no request and no instance."


def test_tables_fit_into_80_columns_with_names_whole() -> None:
    odd = replace(MISS, service="[red]pay", tier="")

    text = shown(summarise([HIT, odd], [WARM], [COMMAND]))

    assert all(len(line) <= 80 for line in text.splitlines())
    assert "[red]pay" in text
    assert "checkout" in text
    assert "…" not in text


def test_json_holds_no_number_that_json_has_not() -> None:
    observed = replace(HIT, route=Route.OBSERVED)

    text = json.dumps(as_json(summarise([observed], [WARM])), allow_nan=False)

    assert json.loads(text)["pools"]["default"]["latency_ms"]["p50"] is None


def test_a_time_beyond_the_calendar_is_shown_as_it_is() -> None:
    assert iso_time(NOW) == "2023-11-14T22:13:20Z"
    assert iso_time(2**63 - 1) == "9223372036854775807 ms"


@pytest.mark.parametrize(
    "outcomes", [[], [HIT, MISS, replace(MISS, request_id="r3", pool="control")]]
)
def test_a_picture_is_drawn_of_any_number_of_outcomes(outcomes: list[Outcome]) -> None:
    assert draw(summarise(outcomes, []), ".png").startswith(b"\x89PNG")
