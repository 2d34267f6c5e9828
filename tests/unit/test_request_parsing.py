from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from streams.records import Request, Source
from streams.records.catalog import Tier
from streams.request_path.gateway.request_parsing import (
    parse_body,
    parse_parameters,
    parse_request,
    single_headers,
)
from streams.stages.base import MAX_NAME, MAX_PARAMETER_LENGTH, MAX_PARAMETERS

GOLD = Tier(tier="gold", weight=2.0, sla_ms=500, priority=2)
TIN = Tier(tier="tin", weight=1.0, sla_ms=9_000, priority=1)
STANDARD = Tier(tier="standard", weight=1.0, sla_ms=2_000, priority=3)


def parsed(*tiers: Tier, tier_header: bool = True, **headers: str) -> Request:
    given = {"x-foremesh-user": "ann"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return parse_request(
        given,
        {"width": "512"},
        {tier.tier: tier for tier in tiers},
        composite="draw",
        pool="p",
        at_ms=7,
        request_id="made-up",
        tier_header=tier_header,
    )


def test_a_request_is_recorded_as_its_headers_say() -> None:
    found = parsed(GOLD, x_foremesh_tier="gold", x_request_id="r1")

    assert found == Request(
        request_id="r1",
        user="ann",
        service="draw",
        at_ms=7,
        parameters={"width": "512"},
        tier="gold",
        pool="p",
        source=Source.GATEWAY,
    )


def test_a_request_without_an_id_gets_one() -> None:
    assert parsed().request_id == "made-up"


def test_a_request_without_a_user_is_refused() -> None:
    with pytest.raises(ValueError, match="x-foremesh-user is missing"):
        parsed(x_foremesh_user="")


def test_a_tier_that_the_catalogue_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="the catalogue has gold, tin"):
        parsed(GOLD, TIN, x_foremesh_tier="silver")


@pytest.mark.parametrize("named", ["gold", "silver", "\udcff", "x" * 300])
def test_a_tier_counts_only_where_the_catalogue_trusts_the_header(named: str) -> None:
    assert parsed(GOLD, TIN, STANDARD, tier_header=False, x_foremesh_tier=named).tier == "standard"


@pytest.mark.parametrize(
    ("tiers", "tier"),
    [((GOLD, TIN, STANDARD), "standard"), ((GOLD, TIN), "tin"), ((), "standard")],
)
def test_without_a_tier_it_is_standard_or_the_one_of_lowest_priority(
    tiers: tuple[Tier, ...], tier: str
) -> None:
    assert parsed(*tiers).tier == tier


@pytest.mark.parametrize("header", ["x_foremesh_user", "x_foremesh_tier", "x_request_id"])
def test_a_name_that_is_too_long_is_refused(header: str) -> None:
    parsed(tier_header=True, **{header: "x" * MAX_NAME})
    with pytest.raises(ValueError, match="has more than"):
        parsed(tier_header=True, **{header: "x" * (MAX_NAME + 1)})


@pytest.mark.parametrize("name", ["x-foremesh-user", "X-Foremesh-Tier", "X-REQUEST-ID"])
def test_a_header_that_says_who_asks_is_refused_when_it_is_there_twice(name: str) -> None:
    others = [("Cookie", "a=1"), ("Cookie", "b=2")]
    assert single_headers([(name, "ann"), *others])[name.lower()] == "ann"
    with pytest.raises(ValueError, match=f"{name.lower()} is there more than once"):
        single_headers([(name, "ann"), *others, (name.lower(), "ann")])


def test_parameters_are_those_of_the_query_and_the_scalars_of_the_body() -> None:
    body = json.dumps({"width": 512, "fast": True, "name": "x", "list": [1], "none": None})

    assert parse_parameters({"page": "2", "width": "1"}, parse_body(body.encode())) == {
        "page": "2",
        "width": "512",
        "fast": "true",
        "name": "x",
    }


@pytest.mark.parametrize("number", ["1e999", "1.0", "-0", "0.1000000000000000055", "9" * 6_000])
def test_numbers_are_taken_as_they_are_written(number: str) -> None:
    assert parse_parameters({}, parse_body(f'{{"n": {number}}}'.encode())) == {"n": number}


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b"\xff", b'{"n": NaN}', b'{"n": -Infinity}'])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="the body"):
        parse_body(body)


@pytest.mark.parametrize(
    "query",
    [{str(n): "" for n in range(MAX_PARAMETERS + 1)}, {"x": "x" * MAX_PARAMETER_LENGTH}],
)
def test_parameters_that_are_too_many_or_too_long_are_refused(query: Mapping[str, str]) -> None:
    with pytest.raises(ValueError, match="exceed the limit"):
        parse_parameters(query, {})
