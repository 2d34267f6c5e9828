from __future__ import annotations

import re
from typing import Any

import pytest
from services import catalog_of, constituent

from streams.records.catalog import Catalog
from streams.request_path.core.headers import IDEMPOTENT_HEADER
from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.listeners import listeners
from streams.request_path.envoy.policy import JwtProvider, RoutePolicy
from streams.request_path.envoy.routes import EDGE, INNER, routes

SERVICES = (constituent("lease"), constituent("pool", concurrency=8))
UNSERVED = {"connect-failure", "refused-stream", "reset-before-request"}
SERVED_PERHAPS = {"connect-failure", "refused-stream", "reset"}


def matches(predicate: dict[str, Any], headers: dict[str, str]) -> bool:
    """What Envoy makes of a predicate."""
    if "or_matcher" in predicate:
        return any(matches(one, headers) for one in predicate["or_matcher"]["predicate"])
    single = predicate["single_predicate"]
    value = headers.get(single["input"]["typed_config"]["header_name"])
    wanted = single["value_match"]
    if value is None:
        return False
    if "exact" in wanted:
        return bool(value == wanted["exact"])
    return re.fullmatch(wanted["safe_regex"]["regex"], value) is not None


def route(catalog: Catalog, where: str, name: str, **headers: str) -> dict[str, Any]:
    """The route that a request takes."""
    told = {one["name"]: one for one in routes(catalog, RoutePolicy())}
    tree = told[where]["virtual_hosts"][0]["matcher"]
    found = tree["on_no_match"]
    for matcher in tree["matcher_list"]["matchers"]:
        if matches(matcher["predicate"], headers):
            found = matcher["on_match"]
    listed = found["action"]["typed_config"]["routes"]
    return next(one for one in listed if one.get("name") == name)


def sent_again_on(found: dict[str, Any]) -> set[str]:
    return set(found["route"]["retry_policy"]["retry_on"].split(","))


def says_so(found: dict[str, Any]) -> bool:
    """Whether the standard path is told that the request may be served twice."""
    return any(one["header"]["key"] == IDEMPOTENT_HEADER for one in found["request_headers_to_add"])


@pytest.mark.parametrize("mode", ["lease", "pool"])
def test_a_post_is_sent_again_only_when_no_instance_has_received_it(mode: str) -> None:
    found = route(catalog_of(*SERVICES), EDGE, f"only-{mode}", **{":method": "POST"})

    assert sent_again_on(found) == UNSERVED
    assert not says_so(found)


@pytest.mark.parametrize("mode", ["lease", "pool"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_a_method_that_may_be_served_twice_is_sent_again(mode: str, method: str) -> None:
    found = route(catalog_of(*SERVICES), EDGE, f"only-{mode}", **{":method": method})

    assert sent_again_on(found) == SERVED_PERHAPS
    assert says_so(found)


@pytest.mark.parametrize("mode", ["lease", "pool"])
def test_a_post_is_sent_again_where_the_catalogue_says_it_may(mode: str) -> None:
    catalog = catalog_of(*SERVICES, idempotent=True)
    found = route(catalog, EDGE, f"only-{mode}", **{":method": "POST"})

    assert sent_again_on(found) == SERVED_PERHAPS
    assert says_so(found)


@pytest.mark.parametrize("said", [True, False])
def test_within_it_is_the_orchestrator_who_says_whether_a_post_may_be_sent_again(
    said: bool,
) -> None:
    headers = {":method": "POST", **({IDEMPOTENT_HEADER: "1"} if said else {})}
    found = route(catalog_of(*SERVICES), INNER, "pool", **headers)

    assert sent_again_on(found) == (SERVED_PERHAPS if said else UNSERVED)
    assert says_so(found) is said


@pytest.mark.parametrize(
    ("trusted", "claim", "kept"), [(False, "", False), (True, "", True), (False, "tier", True)]
)
def test_a_tier_is_believed_of_a_token_or_where_the_catalogue_says_so(
    claim: str, *, trusted: bool, kept: bool
) -> None:
    policy = RoutePolicy(jwt=JwtProvider(issuer="i", jwks="{}", tier_claim=claim))
    edge, inner = routes(catalog_of(*SERVICES, trust_tier_header=trusted), policy)

    assert edge.get("request_headers_to_remove", []) == ([] if kept else ["x-foremesh-tier"])
    assert "request_headers_to_remove" not in inner


def test_a_user_cannot_say_that_a_post_may_be_sent_again() -> None:
    removed = {}
    for listener in listeners(MeshAddresses(), RoutePolicy()):
        manager = listener["filter_chains"][0]["filters"][-1]["typed_config"]
        (extension,) = manager["early_header_mutation_extensions"]
        told = extension["typed_config"]["mutations"]
        removed[listener["name"]] = {mutation["remove"] for mutation in told}

    assert IDEMPOTENT_HEADER in removed[EDGE]
    assert IDEMPOTENT_HEADER not in removed[INNER]
