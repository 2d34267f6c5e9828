"""Envoy's bootstrap configuration: where its control plane is, and nothing else."""

from __future__ import annotations

from typing import Any

from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.clusters import own_cluster, socket_address
from streams.runtime.access import loopback_only

__all__ = ["bootstrap"]

# Without a token, so nothing that ends, drains or profiles this Envoy.
_READ_ONLY = [
    {"exact": path} for path in ("/ready", "/server_info", "/clusters", "/config_dump")
] + [{"prefix": "/stats"}]


def bootstrap(addresses: MeshAddresses, node: str = "edge") -> dict[str, Any]:
    """A bootstrap configuration; everything else comes from the control plane.

    Raises
    ------
    SettingInvalid
        The admin interface would be reached from elsewhere.
    """
    admin = loopback_only(addresses.admin, "admin interface of Envoy")
    control = own_cluster("control", addresses.control, http2=True)
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "5s"}
    # A restarted control plane is soon back: the default back-off would grow to half a minute.
    retry = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}
    service = {"envoy_grpc": {"cluster_name": control["name"], "retry_policy": retry}}
    return {
        "node": {"id": node, "cluster": "foremesh"},
        "admin": {"address": socket_address(admin.address), "allow_paths": _READ_ONLY},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                # The node lists every extension of this Envoy: too much to send with every request.
                "set_node_on_first_message_only": True,
                "grpc_services": [service],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": {"clusters": [control]},
    }
