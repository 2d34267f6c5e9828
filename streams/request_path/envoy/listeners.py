"""Envoy's listeners: authentication, which headers are trusted, the check, the access log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from streams.request_path.core.headers import (
    CONSTITUENT_HEADER,
    DESTINATION_HEADER,
    IDEMPOTENT_HEADER,
    LEASED_HEADER,
    TIER_HEADER,
    USER_HEADER,
)
from streams.request_path.core.retries import MAYBE_SERVED
from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.clusters import OWN_PREFIX, socket_address
from streams.request_path.envoy.policy import EdgeCertificate, JwtProvider, RoutePolicy
from streams.request_path.envoy.routes import EDGE, INNER

__all__ = ["COMPOSITE_CHECK", "CONSTITUENT_CHECK", "listeners"]

COMPOSITE_CHECK, CONSTITUENT_CHECK = "/composite", "/constituent"

_TYPE = "type.googleapis.com/envoy.extensions"
_MANAGER = f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_MUTATION = f"{_TYPE}.http.early_header_mutation.header_mutation.v3.HeaderMutation"
_SET_BY_ENVOY = (DESTINATION_HEADER, LEASED_HEADER, CONSTITUENT_HEADER)
_SET_BY_GATEWAY = (IDEMPOTENT_HEADER,)  # trusted on the inner listener only

_MOST_CONNECTIONS = 10_000  # of a listener at once
_FIRST = "20s"  # until the head of a request is there, or TLS is agreed on
_IDLE = "75s"  # without a request


def listeners(addresses: MeshAddresses, policy: RoutePolicy) -> Iterator[dict[str, Any]]:
    """The listener for users, and the one for the gateway."""
    edge = _listener(EDGE, addresses.edge, COMPOSITE_CHECK, policy, policy.jwt)
    yield _with_tls(edge, policy.tls) if policy.tls else edge
    yield _listener(INNER, addresses.inner, CONSTITUENT_CHECK, policy, None)


def _listener(
    name: str, listen: str, check: str, policy: RoutePolicy, jwt: JwtProvider | None
) -> dict[str, Any]:
    removed = [*_SET_BY_ENVOY, *(_SET_BY_GATEWAY if name == EDGE else ())]
    if jwt is not None:  # the token has them
        removed += [USER_HEADER, *([TIER_HEADER] if jwt.tier_claim else [])]
    manager = {
        "@type": _MANAGER,
        "stat_prefix": name,
        "use_remote_address": name == EDGE,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "common_http_protocol_options": {"idle_timeout": _IDLE},
        "request_headers_timeout": _FIRST,
        "request_timeout": f"{policy.deadline_ms / 1_000:.3f}s",  # until its body is there
        "early_header_mutation_extensions": [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": _MUTATION,
                    "mutations": [{"remove": header} for header in removed],
                },
            }
        ],
        "http_filters": [
            *([_jwt_authn(jwt)] if jwt else []),
            _ext_authz(check, policy),
            _filter("router", f"{_TYPE}.filters.http.router.v3.Router"),
        ],
        "local_reply_config": {"mappers": [_MAYBE_SERVED_REPLY, _RETRY_LATER]},
        "access_log": [_entries_log(name, policy), _leases_log(policy)],
        "rds": {
            "route_config_name": name,
            "config_source": {"ads": {}, "resource_api_version": "V3"},
        },
    }
    filters = [_few_connections(name), {"name": "envoy.http", "typed_config": manager}]
    chain = {"filters": filters, "transport_socket_connect_timeout": _FIRST}
    return {"name": name, "address": socket_address(listen), "filter_chains": [chain]}


def _few_connections(name: str) -> dict[str, Any]:
    """Ends connections beyond the most at once."""
    return {
        "name": "envoy.filters.network.connection_limit",
        "typed_config": {
            "@type": f"{_TYPE}.filters.network.connection_limit.v3.ConnectionLimit",
            "stat_prefix": name,
            "max_connections": _MOST_CONNECTIONS,
        },
    }


def _with_tls(listener: dict[str, Any], tls: EdgeCertificate) -> dict[str, Any]:
    files = {
        "certificate_chain": {"filename": tls.certificate},
        "private_key": {"filename": tls.key},
    }
    socket = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [files]},
        },
    }
    chains = [{**chain, "transport_socket": socket} for chain in listener["filter_chains"]]
    return {**listener, "filter_chains": chains}


def _jwt_authn(jwt: JwtProvider) -> dict[str, Any]:
    claims = {USER_HEADER: jwt.claim} | ({TIER_HEADER: jwt.tier_claim} if jwt.tier_claim else {})
    provider = {
        "issuer": jwt.issuer,
        "local_jwks": {"inline_string": jwt.jwks},
        "forward": True,
        "clear_route_cache": True,  # requests without a user have a route of their own
        "claim_to_headers": [
            {"header_name": header, "claim_name": claim} for header, claim in claims.items()
        ],
    }
    return _filter(
        "jwt_authn",
        f"{_TYPE}.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"users": provider},
        rules=[
            {"match": {"path": "/healthz"}},
            {"match": {"prefix": "/"}, "requires": {"provider_name": "users"}},
        ],
    )


def _ext_authz(check: str, policy: RoutePolicy) -> dict[str, Any]:
    return _filter(
        "ext_authz",
        f"{_TYPE}.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        failure_mode_allow=True,  # the request takes the standard path
        allowed_headers={"patterns": [{"exact": "x-request-id"}]},
        http_service={
            "server_uri": {
                "uri": "http://decide",
                "cluster": f"{OWN_PREFIX}decide",
                "timeout": f"{policy.decide_ms / 1000:.3f}s",
            },
            "path_prefix": check,
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": [{"exact": DESTINATION_HEADER}]}
            },
        },
    )


def _entries_log(name: str, policy: RoutePolicy) -> dict[str, Any]:
    return _grpc_log(
        name,
        "log",
        policy.log_flush_ms,
        additional_request_headers_to_log=[USER_HEADER, TIER_HEADER, CONSTITUENT_HEADER],
        additional_response_headers_to_log=["server-timing"],
    )


def _leases_log(policy: RoutePolicy) -> dict[str, Any]:
    """For the decision service: the ends of requests for exclusive instances."""
    present = {"header": {"name": LEASED_HEADER, "present_match": True}}
    log = _grpc_log(
        "leases",
        "leases",
        policy.lease_flush_ms,
        additional_request_headers_to_log=[CONSTITUENT_HEADER],
    )
    return {**log, "filter": {"header_filter": present}}


def _grpc_log(name: str, cluster: str, flush_ms: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.http_grpc",
        "typed_config": {
            "@type": f"{_TYPE}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
            "common_config": {
                "log_name": name,
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": f"{OWN_PREFIX}{cluster}"}},
                "buffer_flush_interval": f"{flush_ms / 1000:.3f}s",
                "buffer_size_bytes": 65_536,
                "custom_tags": [_tag("result"), _tag("instance")],
            },
            **more,
        },
    }


def _tag(name: str) -> dict[str, Any]:
    """A tag from the metadata of the endpoint that answered, after retries."""
    key = {"key": "envoy.lb", "path": [{"key": name}]}
    return {"tag": name, "metadata": {"kind": {"host": {}}, "metadata_key": key}}


def _filter(name: str, kind: str, **config: Any) -> dict[str, Any]:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": kind, **config}}


# Not 503: a client would retry a request that may have been processed.
_MAYBE_SERVED_REPLY = {
    "filter": {"response_flag_filter": {"flags": ["UC", "UR"]}},
    "status_code": 502,
    "body_format_override": {
        "text_format_source": {
            "inline_string": json.dumps({"error": f"an instance {MAYBE_SERVED}"})
        },
        "content_type": "application/json",
    },
}
_RETRY_LATER = {
    "filter": {
        "status_code_filter": {
            "comparison": {
                "op": "EQ",
                "value": {"default_value": 503, "runtime_key": "foremesh.unavailable"},
            }
        }
    },
    "headers_to_add": [{"header": {"key": "retry-after", "value": "1"}}],
}
