"""Envoy's routes: what users ask for at the edge, and constituents within.

A composite of one constituent goes straight to it: no code of ours runs for it in a pool. One of
several goes to the gateway, which calls its constituents through the inner routes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from streams.records.catalog import Catalog, Composite
from streams.request_path.core.headers import USER_HEADER
from streams.request_path.core.retries import IDEMPOTENT_HEADER, IDEMPOTENT_METHODS
from streams.request_path.envoy.addresses import RoutePolicy
from streams.request_path.envoy.clusters import OWN_PREFIX, is_exclusive

__all__ = ["CONSTITUENT_HEADER", "EDGE", "INNER", "LEASED_HEADER", "routes", "sole_constituent"]

EDGE, INNER = "edge", "inner"
LEASED_HEADER = "x-foremesh-leased"  # tells the access log
CONSTITUENT_HEADER = "x-foremesh-service"  # tells the standard path which constituent is meant

# A dead instance also resets what was sent to it already, and may have served.
_SURE = "connect-failure,refused-stream,reset-before-request"
_ALL = "connect-failure,refused-stream,reset"
_TYPE = "type.googleapis.com/envoy"
_TO_STANDARD = {
    "retry_priority": {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.retry.priority.previous_priorities.v3"
            ".PreviousPrioritiesConfig",
            "update_frequency": 1,
        },
    },
}
_UNDECIDED = {
    "envoy.filters.http.ext_authz": {
        "@type": f"{_TYPE}.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "disabled": True,
    }
}


def routes(catalog: Catalog, policy: RoutePolicy) -> Iterator[dict[str, Any]]:
    """The two route configurations: each for requests that may be served twice, and for others."""
    yield _configuration(EDGE, *(_at_edge(catalog, policy, again) for again in (True, False)))
    yield _configuration(INNER, *(_within(catalog, policy, again) for again in (True, False)))


def _at_edge(catalog: Catalog, policy: RoutePolicy, again: bool) -> list[dict[str, Any]]:
    named = [_edge(composite, catalog, policy, again) for composite in catalog.composites.values()]
    return [_WELL, _NOBODY, *named, _UNKNOWN]


def _within(catalog: Catalog, policy: RoutePolicy, again: bool) -> list[dict[str, Any]]:
    named = [_constituent(name, name, catalog, policy, again) for name in catalog.constituents]
    return [*named, _UNKNOWN]


def sole_constituent(composite: Composite, catalog: Catalog) -> str | None:
    """The constituent of a composite that needs no orchestration."""
    match composite.steps:
        case ((name,),) if name in catalog.constituents:
            return name
    return None


def _edge(
    composite: Composite, catalog: Catalog, policy: RoutePolicy, again: bool
) -> dict[str, Any]:
    if part := sole_constituent(composite, catalog):
        again = again or composite.idempotent
        return _constituent(composite.service, part, catalog, policy, again)
    return {
        "name": composite.service,
        "match": {"path_separated_prefix": f"/{quote(composite.service, safe='')}"},
        "route": {"cluster": f"{OWN_PREFIX}compose", "timeout": _timeout(policy)},
        "typed_per_filter_config": _UNDECIDED,
    }


def _constituent(
    path: str, name: str, catalog: Catalog, policy: RoutePolicy, again: bool
) -> dict[str, Any]:
    lease = is_exclusive(catalog.constituents[name])
    return {
        "name": path,
        "match": {"path_separated_prefix": f"/{quote(path, safe='')}"},
        "route": {
            "cluster": name,
            "timeout": _timeout(policy),
            "regex_rewrite": {"pattern": {"regex": "^/[^/]+/?"}, "substitution": "/"},
            "retry_policy": _retry(lease, again),
        },
        # A % in a name would be a command to Envoy.
        "request_headers_to_add": [
            _set(CONSTITUENT_HEADER, name.replace("%", "%%")),
            *([_set(LEASED_HEADER, "1")] if lease else []),
            *([_set(IDEMPOTENT_HEADER, "1")] if again else []),
        ],
        "response_headers_to_add": _said(name),
        **({} if lease else {"typed_per_filter_config": _UNDECIDED}),
    }


def _retry(lease: bool, again: bool) -> dict[str, Any]:
    """Once, at once, on the standard path; a lease falls back to it by itself."""
    return {
        "retry_on": _ALL if again else _SURE,
        "num_retries": 1,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
        **({} if lease else _TO_STANDARD),
    }


def _said(name: str) -> list[dict[str, Any]]:
    """What a response says of itself, where the standard path has not said it better."""
    told = "%UPSTREAM_METADATA(envoy.lb:{})%".format
    timing = f"desc={told('result')};dur=%RESPONSE_DURATION%;instance={told('instance')}"
    escaped = quote(name, safe="").replace("%", "%%")
    return [
        _set("x-foremesh", told("result"), "ADD_IF_ABSENT"),
        _set("server-timing", f"{escaped};{timing}", "ADD_IF_ABSENT"),
    ]


def _configuration(
    name: str, twice: list[dict[str, Any]], once: list[dict[str, Any]]
) -> dict[str, Any]:
    """Routes for requests that may be served twice, and for those that may not."""
    tree = {
        "matcher_list": {
            "matchers": [{"predicate": _MAY_BE_TWICE, "on_match": _list("twice", twice)}]
        },
        "on_no_match": _list("once", once),
    }
    return {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "matcher": tree}]}


def _list(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    told = {"@type": f"{_TYPE}.config.route.v3.RouteList", "routes": found}
    return {"action": {"name": name, "typed_config": told}}


def _header(name: str, value: dict[str, Any]) -> dict[str, Any]:
    told = {"@type": f"{_TYPE}.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": name}
    read = {"name": "header", "typed_config": told}
    return {"single_predicate": {"input": read, "value_match": value}}


_MAY_BE_TWICE = {
    "or_matcher": {
        "predicate": [
            _header(
                ":method", {"safe_regex": {"google_re2": {}, "regex": "|".join(IDEMPOTENT_METHODS)}}
            ),
            _header(
                IDEMPOTENT_HEADER, {"exact": "1"}
            ),  # users cannot say so: it is removed at the edge
        ]
    }
}


def _set(key: str, value: str, how: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": how}


def _timeout(policy: RoutePolicy) -> str:
    return f"{policy.deadline_ms / 1000:.3f}s"


def _said_here(status: int, told: dict[str, str], match: dict[str, Any]) -> dict[str, Any]:
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": json.dumps(told)}},
        "typed_per_filter_config": _UNDECIDED,
    }


_WELL = _said_here(200, {"routes": "known"}, {"path": "/healthz"})
_NOBODY = _said_here(
    400,
    {"error": f"header {USER_HEADER} is missing: whose request is it?"},
    {
        "prefix": "/",
        "headers": [{"name": USER_HEADER, "present_match": True, "invert_match": True}],
    },
)
_UNKNOWN = _said_here(404, {"error": "there is no such service in the catalogue"}, {"prefix": "/"})
