"""Who serves a constituent, as Envoy's endpoints: what changes with every start and end."""

from __future__ import annotations

import ipaddress
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from google.protobuf import any_pb2, struct_pb2

from streams.records import Instance, InstanceState
from streams.runtime.addresses import address

__all__ = ["EndpointTable"]

logger = logging.getLogger(__name__)

_POOL = {InstanceState.WARM}
# A leased instance is busy because a request was sent to it: it stays to be reached.
_LEASED = {InstanceState.WARM, InstanceState.BUSY}
_NOWHERE = base_pb2.Locality()
_TYPE = f"type.googleapis.com/{endpoint_pb2.ClusterLoadAssignment.DESCRIPTOR.full_name}"


class _KnownEndpoint(NamedTuple):
    """An instance that can be reached."""

    state: InstanceState
    address: str
    made: bytes  # as one of many in a `LocalityLbEndpoints`


class EndpointTable:
    """The instances of a pool that may be sent requests.

    A leased instance that has ended stays for a moment: who claims instances may not have heard
    of its end, and it serves what was claimed then. Nothing else is sent to it.

    Parameters
    ----------
    pool
        Instances of other pools are none of ours.
    standard
        IP address and port of the activator.
    """

    def __init__(self, pool: str, standard: tuple[str, int]) -> None:
        self._pool = pool
        self._standard = _member(*standard, result="miss")
        self._known: dict[str, dict[str, _KnownEndpoint]] = defaultdict(dict)
        self._ended: set[tuple[str, str]] = set()  # service and name, since the last `forget`
        self._ended_before: set[tuple[str, str]] = set()

    def observe(self, instance: Instance) -> bool:
        """Take news in; whether it may change where requests go."""
        if instance.pool != self._pool or not instance.endpoint:  # not there yet, or a base
            return False
        name, known = instance.instance_id, self._known[instance.service]
        was = known.get(name)
        if was is None:
            return instance.state in _LEASED and self._enter(instance)
        if instance.state not in _LEASED:
            if was.state not in _LEASED:
                return False
            self._ended.add((instance.service, name))
        known[name] = was._replace(state=instance.state)
        return was.state is not instance.state

    def _enter(self, instance: Instance) -> bool:
        made = _reachable(instance)
        if made is None:
            return False
        known = self._known[instance.service]
        for name, other in list(known.items()):  # an address is one endpoint to Envoy
            if other.address == made.address and other.state not in _LEASED:
                del known[name]
        known[instance.instance_id] = made
        return True

    def forget(self, there: Iterable[str]) -> set[str]:
        """Drop what ended before the last call, or has no record in the topic any more.

        Returns the constituents that it was of.
        """
        kept = set(there)
        over = {
            (service, name)
            for service, known in self._known.items()
            for name in known.keys() - kept
        }
        over |= {(s, n) for s, n in self._ended_before if not self._is_live(s, n)}
        self._ended_before, self._ended = self._ended, set()
        for service, name in over:
            self._known[service].pop(name, None)
        return {service for service, _ in over}

    def _is_live(self, service: str, name: str) -> bool:
        known = self._known[service].get(name)
        return known is not None and known.state in _LEASED

    def assignment(self, service: str, *, lease: bool) -> any_pb2.Any:
        """The endpoints of a constituent (`ClusterLoadAssignment`), as a resource."""
        known = self._known[service].values()
        warm = [one.made for one in known if lease or one.state in _POOL]
        first, second = ([self._standard], warm) if lease else (warm, [self._standard])
        named = endpoint_pb2.ClusterLoadAssignment(cluster_name=service).SerializeToString()
        # An empty priority is there too: none may be left out.
        value = named + _priority(0, first) + _priority(1, second)
        return any_pb2.Any(type_url=_TYPE, value=value)


def _priority(number: int, members: Iterable[bytes]) -> bytes:
    """A `LocalityLbEndpoints`, as part of the serialized message that it stands in.

    Each endpoint is serialized once, since that takes longer than all the rest: serialized
    messages that are joined are one message with the fields of all.
    """
    head = endpoint_components_pb2.LocalityLbEndpoints(priority=number, locality=_NOWHERE)
    whole = b"".join([head.SerializeToString(), *members])
    # It is field 2 there, as the value of `Any` is.
    return bytes(any_pb2.Any(value=whole).SerializeToString())


def _reachable(instance: Instance) -> _KnownEndpoint | None:
    try:
        host, port = address(instance.endpoint)
        ipaddress.ip_address(host)
    except ValueError:
        told = {"action": "endpoint_unusable", "instance": instance.instance_id}
        logger.warning(
            "%s has no IP address and port: %r", instance.instance_id, instance.endpoint, extra=told
        )
        return None
    made = _member(host, port, result="hit", instance=instance.instance_id)
    return _KnownEndpoint(instance.state, f"{host}:{port}", made)


def _member(host: str, port: int, **metadata: str) -> bytes:
    told = struct_pb2.Struct()
    told.update(metadata)
    place = address_pb2.SocketAddress(address=host, port_value=port)
    endpoint = endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(
            address=address_pb2.Address(socket_address=place)
        ),
        metadata=base_pb2.Metadata(filter_metadata={"envoy.lb": told}),
    )
    one = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint])
    return bytes(one.SerializeToString(deterministic=True))
