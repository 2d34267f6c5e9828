from __future__ import annotations

import pytest
from envoy.data.accesslog.v3 import accesslog_pb2
from services import catalog_of, constituent

from streams.adapters.avro import codec
from streams.records import Outcome, Part, Request, Result, Route
from streams.records.catalog import Catalog, Composite
from streams.request_path.core.start_up_times import StartUpTimes
from streams.request_path.envoy.access_log_entries import (
    AccessLogEntry,
    EntryUnusable,
    read_entry,
    records_of,
)

CATALOG = Catalog.of(
    [
        *catalog_of(constituent("a"), constituent("b", concurrency=8)),
        Composite(service="open", steps=(("a",),), logged=("page",)),
    ]
)
ENTRY = AccessLogEntry(
    request_id="r",
    route="only-a",
    user="ann",
    tier="gold",
    path="/only-a?page=2&card=1234",
    at_ms=1_000,
    status=200,
    latency_ms=12.5,
    serve_ms=11,
    constituent="a",
    warm=True,
    instance_id="a-1",
    timing="",
)


def told(**news: object) -> tuple[Request, Outcome]:
    return records_of(ENTRY._replace(**news), CATALOG, StartUpTimes(), "default")  # type: ignore[arg-type]


def test_what_a_warm_instance_served_is_a_hit_that_saved_its_start() -> None:
    asked, outcome = told()

    assert (asked.user, asked.tier, asked.service, asked.at_ms) == ("ann", "gold", "only-a", 1_000)
    assert (outcome.result, outcome.route, outcome.latency_ms) == (
        Result.HIT,
        Route.PREALLOCATED,
        12.5,
    )
    assert (outcome.cold_ms, outcome.saved_ms) == (0, 100)
    assert outcome.parts == (Part(service="a", warm=True, instance_id="a-1", serve_ms=11),)


def test_what_the_standard_path_served_cost_what_it_says() -> None:
    header = "a;desc=miss;dur=0;cold=180;start=175;instance=a-2, ttfb;dur=190"
    _, outcome = told(warm=False, instance_id="", timing=header, serve_ms=190, latency_ms=191.0)

    assert (outcome.result, outcome.route, outcome.cold_ms) == (Result.MISS, Route.STANDARD, 180)
    assert outcome.parts[0] == Part(
        service="a", warm=False, instance_id="a-2", wait_ms=180, serve_ms=10, warm_up_ms=175
    )


def test_a_request_that_nobody_could_serve_is_refused() -> None:
    _, outcome = told(warm=False, instance_id="", status=503)

    assert (outcome.result, outcome.route, outcome.status) == (Result.MISS, Route.REFUSED, 503)


def test_the_parts_of_an_orchestrated_composite_are_as_its_gateway_says() -> None:
    header = "a;desc=hit;dur=3;cold=0;instance=a-1, b;desc=miss;dur=4;cold=90, total;dur=97"
    _, outcome = told(route="together", constituent="", warm=False, timing=header)

    assert (outcome.result, outcome.cold_ms) == (Result.PARTIAL, 90)
    assert [part.warm for part in outcome.parts] == [True, False]


def test_only_parameters_that_the_catalogue_allows_are_kept() -> None:
    assert told(route="only-a")[0].parameters == {}
    assert told(route="open")[0].parameters == {"page": "2"}


def test_a_long_parameter_that_is_not_kept_takes_no_room_from_one_that_is() -> None:
    path = f"/open?card={'1' * 100_000}&page=2"

    assert told(route="open", path=path)[0].parameters == {"page": "2"}


def test_a_parameter_that_does_not_fit_takes_no_room_from_one_that_does() -> None:
    path = f"/open?page={'1' * 100_000}&page=2"

    assert told(route="open", path=path)[0].parameters == {"page": "2"}


def test_a_tier_that_is_not_in_the_catalogue_counts_as_standard() -> None:
    assert told(tier="tin")[0].tier == "standard"


@pytest.mark.parametrize("name", ["x" * 300, "ü" * 257])
def test_names_that_are_too_long_are_told_apart_by_what_they_are(name: str) -> None:
    long, other = (told(user=one, request_id=one)[0] for one in (name, name + "y"))

    assert len(long.user) == len(long.request_id) == 256
    assert (long.user, long.request_id) != (other.user, other.request_id)
    assert long.user.startswith(name[:100])


@pytest.mark.parametrize("news", [{"route": ""}, {"user": ""}])
def test_what_is_no_request_for_a_composite_becomes_no_record(news: dict[str, str]) -> None:
    with pytest.raises(EntryUnusable):
        told(**news)


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63)])
@pytest.mark.parametrize("route", ["only-a", "only-b"])
def test_times_at_their_extremes_become_records_that_can_be_sent(route: str, seconds: int) -> None:
    entry = accesslog_pb2.HTTPAccessLogEntry()
    common = entry.common_properties
    common.route_name = route
    for time in (common.start_time, common.duration, common.time_to_first_upstream_rx_byte):
        time.seconds, time.nanos = seconds, 2**31 - 1
    entry.request.request_headers["x-foremesh-user"] = "ann"
    entry.response.response_code.value = 2**32 - 1
    timing = f"{route[-1]};desc=miss;dur=9e99;cold=9e99;start=9e99"
    entry.response.response_headers["server-timing"] = timing
    for record in records_of(read_entry(entry), CATALOG, StartUpTimes(), "default"):
        assert codec.decode(codec.encode(record)) == record
