"""What Envoy is started with: where its control plane is, nothing else."""

from __future__ import annotations

from typing import Any

from streams.request_path.envoy.addresses import MeshAddresses
from streams.request_path.envoy.clusters import own_cluster, socket_address

__all__ = ["bootstrap"]


def bootstrap(places: MeshAddresses, node: str = "edge") -> dict[str, Any]:
    """A bootstrap configuration; all else comes from the control plane."""
    control = own_cluster("control", places.control, http2=True)
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "5s"}
    # A control plane that was killed is back in a moment: do not wait for half a minute.
    again = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}
    service = {"envoy_grpc": {"cluster_name": control["name"], "retry_policy": again}}
    return {
        "node": {"id": node, "cluster": "foremesh"},
        "admin": {"address": socket_address(places.admin)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                # It names all that this Envoy is made of: too much to say with every answer.
                "set_node_on_first_message_only": True,
                "grpc_services": [service],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": {"clusters": [control]},
    }
