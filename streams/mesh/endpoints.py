"""Who serves a constituent, as Envoy's endpoints: what changes with every start and end."""

from __future__ import annotations

import ipaddress
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from google.protobuf import struct_pb2

from streams.provisioners.service import address
from streams.records import Instance, InstanceState

__all__ = ["Endpoints"]

logger = logging.getLogger(__name__)

_POOL = {InstanceState.WARM}
# A leased instance is busy because a request was sent to it: it stays to be reached.
_LEASED = {InstanceState.WARM, InstanceState.BUSY}


class Endpoints:
    """The instances of a pool that may be sent requests.

    Parameters
    ----------
    pool
        Instances of other pools are none of ours.
    standard
        IP address and port of the activator.
    """

    def __init__(self, pool: str, standard: tuple[str, int]) -> None:
        self._pool = pool
        self._standard = _endpoint(*standard, tier="standard", result="miss")
        self._serving: dict[str, dict[str, tuple[InstanceState, Any]]] = defaultdict(dict)

    def observe(self, instance: Instance) -> bool:
        """Take news in; whether it may change where requests go."""
        if instance.pool != self._pool or not instance.endpoint:  # not there yet, or a base
            return False
        name, serving = instance.instance_id, self._serving[instance.service]
        known = serving.get(name)
        if instance.state not in _LEASED:
            return serving.pop(name, None) is not None
        if known is None:
            made = _reachable(instance)
            if made is None:
                return False
            serving[name] = (instance.state, made)
            return True
        serving[name] = (instance.state, known[1])
        return known[0] is not instance.state

    def forget(self, there: Iterable[str]) -> set[str]:
        """Drop instances whose record is gone from the topic; the constituents they were of."""
        kept, changed = set(there), set()
        for service, serving in self._serving.items():
            for name in serving.keys() - kept:
                del serving[name]
                changed.add(service)
        return changed

    def assignment(self, service: str, *, lease: bool) -> Any:
        """The endpoints of a constituent (`ClusterLoadAssignment`)."""
        states = _LEASED if lease else _POOL
        warm = [made for state, made in self._serving[service].values() if state in states]
        first, second = ([self._standard], warm) if lease else (warm, [self._standard])
        # An empty priority is there too: none may be left out.
        return endpoint_pb2.ClusterLoadAssignment(
            cluster_name=service,
            endpoints=[
                endpoint_components_pb2.LocalityLbEndpoints(priority=n, lb_endpoints=members)
                for n, members in enumerate((first, second))
            ],
        )


def _reachable(instance: Instance) -> Any | None:
    try:
        host, port = address(instance.endpoint)
        ipaddress.ip_address(host)
    except ValueError:
        told = {"action": "endpoint_unusable", "instance": instance.instance_id}
        logger.warning(
            "%s has no IP address and port: %r", instance.instance_id, instance.endpoint, extra=told
        )
        return None
    return _endpoint(host, port, tier="warm", result="hit", instance=instance.instance_id)


def _endpoint(host: str, port: int, **metadata: str) -> Any:
    told = struct_pb2.Struct()
    told.update(metadata)
    place = address_pb2.SocketAddress(address=host, port_value=port)
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(
            address=address_pb2.Address(socket_address=place)
        ),
        metadata=base_pb2.Metadata(filter_metadata={"envoy.lb": told}),
    )
