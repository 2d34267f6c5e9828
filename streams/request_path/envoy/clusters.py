"""Envoy's clusters: one per constituent, of one of two kinds, and those of foremesh's processes.

*pool*, for constituents whose instances serve many requests at once: warm instances are priority
0, the standard path is priority 1. *lease*, for exclusive ones: the standard path is priority 0,
and a warm instance is reached only by its address, which the decision service has claimed. In both
a request that meets a dead instance is retried once, on the standard path, unless it may have been
served already.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streams.records.catalog import Catalog, Constituent
from streams.request_path.core.headers import DESTINATION_HEADER
from streams.request_path.core.retries import IDLE_TIMEOUT_S
from streams.request_path.envoy.addresses import MeshAddresses
from streams.runtime.addresses import address

__all__ = [
    "OWN_PREFIX",
    "clusters",
    "is_exclusive",
    "own_cluster",
    "socket_address",
]

OWN_PREFIX = "foremesh-"  # of the names of the clusters of foremesh's own processes
_UNLIMITED = 100_000

_TYPE = "type.googleapis.com/envoy.extensions"
# One failed connection is enough: the provisioner reports the end a moment later.
_OUTLIER_DETECTION = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 1,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "consecutive_5xx": 0,
    "consecutive_gateway_failure": 0,
    "max_ejection_percent": 100,
    "base_ejection_time": "2s",
    "interval": "1s",
}
_NO_LIMITS = {  # queues form at the standard path, which bounds them
    "thresholds": [
        {
            "max_connections": _UNLIMITED,
            "max_pending_requests": _UNLIMITED,
            "max_requests": _UNLIMITED,
            "max_retries": _UNLIMITED,
        }
    ]
}


def is_exclusive(constituent: Constituent) -> bool:
    """Whether each of its instances serves one request at a time, and is claimed for it."""
    return constituent.at_once == 1


def clusters(catalog: Catalog, addresses: MeshAddresses) -> Iterator[dict[str, Any]]:
    """The clusters of a catalogue."""
    for constituent in catalog.constituents.values():
        yield _constituent(constituent)
    yield own_cluster("log", addresses.log, http2=True)
    yield own_cluster("decide", addresses.decide)
    yield own_cluster("leases", addresses.leases, http2=True)
    yield own_cluster("compose", addresses.compose)


def _constituent(constituent: Constituent) -> dict[str, Any]:
    cluster = {
        "name": constituent.service,
        "type": "EDS",
        "connect_timeout": "0.25s",
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": _NO_LIMITS,
        "typed_extension_protocol_options": _http(idle=f"{IDLE_TIMEOUT_S}s"),
    }
    if is_exclusive(constituent):
        return {**cluster, "load_balancing_policy": _BY_ADDRESS}
    return {**cluster, "lb_policy": "LEAST_REQUEST", "outlier_detection": _OUTLIER_DETECTION}


_BY_ADDRESS = {
    "policies": [
        {
            "typed_extension_config": {
                "name": "envoy.load_balancing_policies.override_host",
                "typed_config": {
                    "@type": f"{_TYPE}.load_balancing_policies.override_host.v3.OverrideHost",
                    "override_host_sources": [{"header": DESTINATION_HEADER}],
                    "fallback_policy": {
                        "policies": [
                            {
                                "typed_extension_config": {
                                    "name": "envoy.load_balancing_policies.round_robin",
                                    "typed_config": {
                                        "@type": f"{_TYPE}.load_balancing_policies.round_robin.v3"
                                        ".RoundRobin"
                                    },
                                }
                            }
                        ]
                    },
                },
            }
        }
    ]
}


def own_cluster(name: str, listen: str, *, http2: bool = False) -> dict[str, Any]:
    """The cluster of one of foremesh's own processes."""
    return {
        "name": OWN_PREFIX + name,
        "type": "STRICT_DNS",
        "connect_timeout": "0.25s",
        "circuit_breakers": _NO_LIMITS,
        "typed_extension_protocol_options": _http(http2=http2),
        "load_assignment": {
            "cluster_name": OWN_PREFIX + name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": socket_address(listen)}}]},
            ],
        },
    }


def _http(*, idle: str = "60s", http2: bool = False) -> dict[str, Any]:
    # Detects a host that is gone without having closed its connections.
    alive = {"connection_keepalive": {"interval": "5s", "timeout": "5s"}}
    protocol = {"http2_protocol_options": alive} if http2 else {"http_protocol_options": {}}
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"idle_timeout": idle},
            "explicit_http_config": protocol,
        }
    }


def socket_address(listen: str) -> dict[str, Any]:
    """An address (host:port) as Envoy's configuration has it."""
    host, port = address(listen)
    return {"socket_address": {"address": host, "port_value": port}}
