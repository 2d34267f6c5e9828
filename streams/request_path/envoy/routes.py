"""Envoy's routes: composites at the edge, for users, and constituents inside, for the gateway.

A request for a composite of one constituent goes straight to that constituent; in *pool* mode no
process of foremesh takes part. One of several goes to the gateway, which calls the constituents
through the inner routes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from streams.records.catalog import Catalog, Composite
from streams.request_path.core.headers import (
    CONSTITUENT_HEADER,
    IDEMPOTENT_HEADER,
    LEASED_HEADER,
    RESULT_HEADER,
    TIER_HEADER,
    USER_HEADER,
)
from streams.request_path.core.retries import IDEMPOTENT_METHODS
from streams.request_path.envoy.clusters import OWN_PREFIX, is_exclusive
from streams.request_path.envoy.policy import RoutePolicy

__all__ = ["EDGE", "INNER", "routes", "sole_constituent"]

EDGE, INNER = "edge", "inner"

# A dying instance also resets requests that it has received and may have served ("reset").
_RETRY_UNSERVED = "connect-failure,refused-stream,reset-before-request"
_RETRY_IDEMPOTENT = "connect-failure,refused-stream,reset"
_TYPE = "type.googleapis.com/envoy"
_RETRY_ON_STANDARD_PATH = {
    "retry_priority": {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.retry.priority.previous_priorities.v3"
            ".PreviousPrioritiesConfig",
            "update_frequency": 1,
        },
    },
}
_WITHOUT_TIER = {"request_headers_to_remove": [TIER_HEADER]}
_WITHOUT_CHECK = {
    "envoy.filters.http.ext_authz": {
        "@type": f"{_TYPE}.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "disabled": True,
    }
}


def routes(catalog: Catalog, policy: RoutePolicy) -> Iterator[dict[str, Any]]:
    """The two route configurations, each with routes for idempotent requests and for others."""
    edge = _configuration(
        EDGE, *(_at_edge(catalog, policy, idempotent=flag) for flag in (True, False))
    )
    yield edge if _trusts_tier(catalog, policy) else {**edge, **_WITHOUT_TIER}
    yield _configuration(
        INNER, *(_inside(catalog, policy, idempotent=flag) for flag in (True, False))
    )


def _trusts_tier(catalog: Catalog, policy: RoutePolicy) -> bool:
    """Whether the tier header at the edge says the tier: of a token, or as the pool trusts it."""
    of_token = policy.jwt is not None and bool(policy.jwt.tier_claim)
    return of_token or catalog.trusts_tier_header(policy.pool)


def _at_edge(catalog: Catalog, policy: RoutePolicy, *, idempotent: bool) -> list[dict[str, Any]]:
    named = [_composite(one, catalog, policy, idempotent) for one in catalog.composites.values()]
    return [_HEALTHY, *_refused(catalog, policy), *named, _NO_COMPOSITE]


def _refused(catalog: Catalog, policy: RoutePolicy) -> Iterator[dict[str, Any]]:
    """Requests that the gateway refuses, but for names too long, of which no route can tell."""
    yield _NO_USER
    if catalog.tiers and catalog.trusts_tier_header(policy.pool):
        error = f"there is no such tier: the catalogue has {', '.join(catalog.tiers)}"
        other = [
            {"name": TIER_HEADER, "string_match": {"exact": tier}, "invert_match": True}
            for tier in catalog.tiers
        ]
        yield _direct_response(400, {"error": error}, {"prefix": "/", "headers": other})


def _inside(catalog: Catalog, policy: RoutePolicy, *, idempotent: bool) -> list[dict[str, Any]]:
    named = [_constituent(name, name, catalog, policy, idempotent) for name in catalog.constituents]
    return [*named, _NO_CONSTITUENT]


def sole_constituent(composite: Composite, catalog: Catalog) -> str | None:
    """The only constituent of a composite, which then needs no orchestration."""
    match composite.steps:
        case ((name,),) if name in catalog.constituents:
            return name
    return None


def _composite(
    composite: Composite, catalog: Catalog, policy: RoutePolicy, idempotent: bool
) -> dict[str, Any]:
    if part := sole_constituent(composite, catalog):
        idempotent = idempotent or composite.idempotent
        return _constituent(composite.service, part, catalog, policy, idempotent)
    return {
        "name": composite.service,
        "match": {"path_separated_prefix": f"/{quote(composite.service, safe='')}"},
        "route": {"cluster": f"{OWN_PREFIX}compose", "timeout": _timeout(policy)},
        "typed_per_filter_config": _WITHOUT_CHECK,
    }


def _constituent(
    path: str, name: str, catalog: Catalog, policy: RoutePolicy, idempotent: bool
) -> dict[str, Any]:
    exclusive = is_exclusive(catalog.constituents[name])
    return {
        "name": path,
        "match": {"path_separated_prefix": f"/{quote(path, safe='')}"},
        "route": {
            "cluster": name,
            "timeout": _timeout(policy),
            "regex_rewrite": {"pattern": {"regex": "^/[^/]+/?"}, "substitution": "/"},
            "retry_policy": _retry(exclusive=exclusive, idempotent=idempotent),
        },
        # Envoy would read a % as the start of a command operator.
        "request_headers_to_add": [
            _set(CONSTITUENT_HEADER, name.replace("%", "%%")),
            *([_set(LEASED_HEADER, "1")] if exclusive else []),
            *([_set(IDEMPOTENT_HEADER, "1")] if idempotent else []),
        ],
        "response_headers_to_add": _cost_headers(name),
        **({} if exclusive else {"typed_per_filter_config": _WITHOUT_CHECK}),
    }


def _retry(*, exclusive: bool, idempotent: bool) -> dict[str, Any]:
    """One retry, at once, on the standard path; an override host falls back to it by itself."""
    return {
        "retry_on": _RETRY_IDEMPOTENT if idempotent else _RETRY_UNSERVED,
        "num_retries": 1,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
        **({} if exclusive else _RETRY_ON_STANDARD_PATH),
    }


def _cost_headers(name: str) -> list[dict[str, Any]]:
    """Result and timing of a response, unless the activator has set them."""
    tag = "%UPSTREAM_METADATA(envoy.lb:{})%".format
    timing = f"desc={tag('result')};dur=%RESPONSE_DURATION%;instance={tag('instance')}"
    escaped = quote(name, safe="").replace("%", "%%")
    return [
        _set(RESULT_HEADER, tag("result"), "ADD_IF_ABSENT"),
        _set("server-timing", f"{escaped};{timing}", "ADD_IF_ABSENT"),
    ]


def _configuration(
    name: str, twice: list[dict[str, Any]], once: list[dict[str, Any]]
) -> dict[str, Any]:
    """Routes for requests that may be served twice, and for those that may not be."""
    tree = {
        "matcher_list": {
            "matchers": [{"predicate": _IS_IDEMPOTENT, "on_match": _list("twice", twice)}]
        },
        "on_no_match": _list("once", once),
    }
    return {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "matcher": tree}]}


def _list(name: str, listed: list[dict[str, Any]]) -> dict[str, Any]:
    config = {"@type": f"{_TYPE}.config.route.v3.RouteList", "routes": listed}
    return {"action": {"name": name, "typed_config": config}}


def _header(name: str, value: dict[str, Any]) -> dict[str, Any]:
    config = {"@type": f"{_TYPE}.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": name}
    header = {"name": "header", "typed_config": config}
    return {"single_predicate": {"input": header, "value_match": value}}


_IS_IDEMPOTENT = {
    "or_matcher": {
        "predicate": [
            _header(
                ":method", {"safe_regex": {"google_re2": {}, "regex": "|".join(IDEMPOTENT_METHODS)}}
            ),
            _header(IDEMPOTENT_HEADER, {"exact": "1"}),  # removed from users' requests at the edge
        ]
    }
}


def _set(key: str, value: str, how: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": how}


def _timeout(policy: RoutePolicy) -> str:
    return f"{policy.deadline_ms / 1000:.3f}s"


def _direct_response(status: int, body: dict[str, str], match: dict[str, Any]) -> dict[str, Any]:
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": json.dumps(body)}},
        "typed_per_filter_config": _WITHOUT_CHECK,
    }


_HEALTHY = _direct_response(200, {"routes": "known"}, {"path": "/healthz"})
_NO_USER = _direct_response(
    400,
    {"error": f"header {USER_HEADER} is missing: it names the user of the request"},
    {
        "prefix": "/",
        "headers": [
            {
                "name": USER_HEADER,
                "string_match": {"exact": ""},
                "treat_missing_header_as_empty": True,
            }
        ],
    },
)
_NO_COMPOSITE, _NO_CONSTITUENT = (
    _direct_response(404, {"error": f"the {kind} is not in the catalogue"}, {"prefix": "/"})
    for kind in ("composite", "constituent")
)
