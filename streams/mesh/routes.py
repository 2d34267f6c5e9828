"""Envoy's routes: what users ask for at the edge, and constituents within.

A composite of one constituent goes straight to it: no code of ours runs for it in a pool. One of
several goes to the gateway, which calls its constituents through the inner routes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from streams.catalog import Catalog, Composite
from streams.gateway.routes import USER
from streams.mesh.clusters import OURS, leased
from streams.mesh.places import Policy

__all__ = ["EDGE", "INNER", "LEASED", "SERVICE", "only_part", "routes"]

EDGE, INNER = "edge", "inner"
LEASED = "x-foremesh-leased"  # tells the access log
SERVICE = "x-foremesh-service"  # tells the standard path which constituent is meant

_RETRY = {
    # A dead instance also resets what was sent to it already: as the gateway does, ask again.
    "retry_on": "connect-failure,refused-stream,reset",
    "num_retries": 1,
    "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"},
    "retry_priority": {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3"
            ".PreviousPrioritiesConfig",
            "update_frequency": 1,
        },
    },
}
_RETRY_LEASE = {key: value for key, value in _RETRY.items() if key != "retry_priority"}
_UNDECIDED = {
    "envoy.filters.http.ext_authz": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "disabled": True,
    }
}


def routes(catalog: Catalog, policy: Policy) -> Iterator[dict[str, Any]]:
    """The two route configurations."""
    edge = [_edge(composite, catalog, policy) for composite in catalog.composites.values()]
    inner = [_constituent(name, name, catalog, policy) for name in catalog.constituents]
    yield _configuration(EDGE, [_WELL, _NOBODY, *edge, _UNKNOWN])
    yield _configuration(INNER, [*inner, _UNKNOWN])


def only_part(composite: Composite, catalog: Catalog) -> str | None:
    """The constituent of a composite that needs no orchestration."""
    match composite.steps:
        case ((name,),) if name in catalog.constituents:
            return name
    return None


def _edge(composite: Composite, catalog: Catalog, policy: Policy) -> dict[str, Any]:
    if part := only_part(composite, catalog):
        return _constituent(composite.service, part, catalog, policy)
    return {
        "name": composite.service,
        "match": {"path_separated_prefix": f"/{quote(composite.service, safe='')}"},
        "route": {"cluster": f"{OURS}compose", "timeout": _timeout(policy)},
        "typed_per_filter_config": _UNDECIDED,
    }


def _constituent(path: str, name: str, catalog: Catalog, policy: Policy) -> dict[str, Any]:
    lease = leased(catalog.constituents[name])
    return {
        "name": path,
        "match": {"path_separated_prefix": f"/{quote(path, safe='')}"},
        "route": {
            "cluster": name,
            "timeout": _timeout(policy),
            "regex_rewrite": {"pattern": {"regex": "^/[^/]+/?"}, "substitution": "/"},
            "retry_policy": _RETRY_LEASE if lease else _RETRY,
        },
        # A % in a name would be a command to Envoy.
        "request_headers_to_add": [
            _set(SERVICE, name.replace("%", "%%")),
            *([_set(LEASED, "1")] if lease else []),
        ],
        "response_headers_to_add": _said(name),
        **({} if lease else {"typed_per_filter_config": _UNDECIDED}),
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


def _configuration(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "virtual_hosts": [{"name": name, "domains": ["*"], "routes": found}],
    }


def _set(key: str, value: str, how: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": how}


def _timeout(policy: Policy) -> str:
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
    {"error": f"header {USER} is missing: whose request is it?"},
    {
        "prefix": "/",
        "headers": [{"name": USER, "present_match": True, "invert_match": True}],
    },
)
_UNKNOWN = _said_here(404, {"error": "there is no such service in the catalogue"}, {"prefix": "/"})
