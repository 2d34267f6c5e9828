"""Parses configuration, given as dicts, into Envoy's protobuf messages."""

from __future__ import annotations

import importlib
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import json_format

__all__ = ["cluster", "listener", "route_configuration"]

# A message type is known to the parser of `Any` once its module was imported.
for _name in (
    "access_loggers.grpc.v3.als_pb2",
    "filters.http.ext_authz.v3.ext_authz_pb2",
    "filters.http.jwt_authn.v3.config_pb2",
    "filters.http.router.v3.router_pb2",
    "filters.network.connection_limit.v3.connection_limit_pb2",
    "filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "http.early_header_mutation.header_mutation.v3.header_mutation_pb2",
    "load_balancing_policies.override_host.v3.override_host_pb2",
    "load_balancing_policies.round_robin.v3.round_robin_pb2",
    "retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "transport_sockets.tls.v3.tls_pb2",
    "upstreams.http.v3.http_protocol_options_pb2",
):
    importlib.import_module(f"envoy.extensions.{_name}")
importlib.import_module("envoy.type.matcher.v3.http_inputs_pb2")


def cluster(config: dict[str, Any]) -> Any:
    """A `Cluster`."""
    return json_format.ParseDict(config, cluster_pb2.Cluster())


def listener(config: dict[str, Any]) -> Any:
    """A `Listener`."""
    return json_format.ParseDict(config, listener_pb2.Listener())


def route_configuration(config: dict[str, Any]) -> Any:
    """A `RouteConfiguration`."""
    return json_format.ParseDict(config, route_pb2.RouteConfiguration())
