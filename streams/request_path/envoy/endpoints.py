"""Envoy's endpoints: which instances of a constituent may be sent requests."""

from __future__ import annotations

import ipaddress
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from google.protobuf import any_pb2, struct_pb2

from streams.errors import SettingInvalid
from streams.records import Instance, InstanceState
from streams.runtime.addresses import address

__all__ = ["EndpointTable"]

logger = logging.getLogger(__name__)

_BALANCED = {InstanceState.WARM}
# An exclusive instance is busy because a request was sent to it, which must still reach it.
_EXCLUSIVE = {InstanceState.WARM, InstanceState.BUSY}
_NO_LOCALITY = base_pb2.Locality()
_TYPE = f"type.googleapis.com/{endpoint_pb2.ClusterLoadAssignment.DESCRIPTOR.full_name}"


class _KnownEndpoint(NamedTuple):
    """An instance that can be reached."""

    state: InstanceState
    address: str
    serialized: bytes  # as a member of a `LocalityLbEndpoints`


class EndpointTable:
    """The instances of a pool that may be sent requests.

    An exclusive instance that has ended stays for a moment: the decision service may not know of
    its end yet, and requests that have claimed it must reach it. No others do.

    Parameters
    ----------
    pool
        Instances of other pools are ignored.
    standard
        IP address and port of the activator.
    """

    def __init__(self, pool: str, standard: tuple[str, int]) -> None:
        self._pool = pool
        self._standard = _member(*standard, result="miss")
        self._known: dict[str, dict[str, _KnownEndpoint]] = defaultdict(dict)
        self._ended: set[tuple[str, str]] = set()  # constituent and name, since the last `prune`
        self._ended_before: set[tuple[str, str]] = set()

    def observe(self, instance: Instance) -> bool:
        """Record a change of an instance; whether the endpoints may have changed."""
        if instance.pool != self._pool or not instance.endpoint:  # not ready yet, or a base
            return False
        name, known = instance.instance_id, self._known[instance.service]
        was = known.get(name)
        if was is None:
            return instance.state in _EXCLUSIVE and self._add(instance)
        if instance.state not in _EXCLUSIVE:
            if was.state not in _EXCLUSIVE:
                return False
            self._ended.add((instance.service, name))
        known[name] = was._replace(state=instance.state)
        return was.state is not instance.state

    def _add(self, instance: Instance) -> bool:
        added = _reachable(instance)
        if added is None:
            return False
        known = self._known[instance.service]
        for name, other in list(known.items()):  # to Envoy an address is one endpoint
            if other.address == added.address and other.state not in _EXCLUSIVE:
                del known[name]
        known[instance.instance_id] = added
        return True

    def prune(self, existing: Iterable[str]) -> set[str]:
        """Drop instances that ended before the last call, or are not among the existing ones.

        Returns their constituents.
        """
        kept = set(existing)
        dropped = {
            (constituent, name)
            for constituent, known in self._known.items()
            for name in known.keys() - kept
        }
        dropped |= {(c, n) for c, n in self._ended_before if not self._is_live(c, n)}
        self._ended_before, self._ended = self._ended, set()
        for constituent, name in dropped:
            self._known[constituent].pop(name, None)
        return {constituent for constituent, _ in dropped}

    def _is_live(self, constituent: str, name: str) -> bool:
        known = self._known[constituent].get(name)
        return known is not None and known.state in _EXCLUSIVE

    def assignment(self, constituent: str, *, exclusive: bool) -> any_pb2.Any:
        """The endpoints of a constituent (`ClusterLoadAssignment`), as a resource."""
        known = self._known[constituent].values()
        warm = [one.serialized for one in known if exclusive or one.state in _BALANCED]
        first, second = ([self._standard], warm) if exclusive else (warm, [self._standard])
        named = endpoint_pb2.ClusterLoadAssignment(cluster_name=constituent).SerializeToString()
        # Envoy requires every priority, also an empty one.
        value = named + _priority(0, first) + _priority(1, second)
        return any_pb2.Any(type_url=_TYPE, value=value)


def _priority(number: int, members: Iterable[bytes]) -> bytes:
    """A `LocalityLbEndpoints`, as a field of the serialized message that contains it.

    Each endpoint is serialized once, since that takes longer than everything else: serialized
    messages that are concatenated are one message with the fields of all.
    """
    head = endpoint_components_pb2.LocalityLbEndpoints(priority=number, locality=_NO_LOCALITY)
    serialized = b"".join([head.SerializeToString(), *members])
    # It is field 2 of its message, and so is the value of `Any`.
    return bytes(any_pb2.Any(value=serialized).SerializeToString())


def _reachable(instance: Instance) -> _KnownEndpoint | None:
    try:
        host, port = address(instance.endpoint)
        ipaddress.ip_address(host)
    except (SettingInvalid, ValueError):
        name, endpoint = instance.instance_id, instance.endpoint
        extra = {"action": "endpoint_unusable", "instance": name}
        logger.warning(
            "The endpoint of %s is no IP address and port: %r", name, endpoint, extra=extra
        )
        return None
    serialized = _member(host, port, result="hit", instance=instance.instance_id)
    return _KnownEndpoint(instance.state, f"{host}:{port}", serialized)


def _member(host: str, port: int, **metadata: str) -> bytes:
    fields = struct_pb2.Struct()
    fields.update(metadata)
    socket_address = address_pb2.SocketAddress(address=host, port_value=port)
    endpoint = endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(
            address=address_pb2.Address(socket_address=socket_address)
        ),
        metadata=base_pb2.Metadata(filter_metadata={"envoy.lb": fields}),
    )
    group = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint])
    return bytes(group.SerializeToString(deterministic=True))
