"""Nodes that are only said to be there, and pods on them that become what their annotations say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from binaries import Programs
from control_plane import ControlPlane, served
from lightkube.models.core_v1 import NodeSpec, NodeStatus, Taint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node

from streams.runtime.ports import free_ports

__all__ = ["FAKE", "fake_node", "kwok"]

FAKE = "kwok.x-k8s.io/node"
STAGES = Path(__file__).with_name("stages.yaml")
LEASE_S = 4


@contextlib.contextmanager
def kwok(found: Programs, there: ControlPlane, kind: str = "fake") -> Iterator[None]:
    """What speaks for the nodes of a kind, and for the pods on them; they die with it."""
    (port,) = free_ports(1)
    argv = [
        found["kwok"],
        f"--kubeconfig={there.kubeconfig()}",
        f"--config={STAGES}",
        f"--manage-nodes-with-annotation-selector={FAKE}={kind}",
        f"--node-lease-duration-seconds={LEASE_S}",
        f"--server-address=127.0.0.1:{port}",
        "--cidr=10.0.0.1/16",
    ]
    with served(f"kwok {kind}", argv, there.folder):
        yield


def fake_node(name: str, kind: str = "fake", **labels: str) -> Node:
    """A node to be created; only who tolerates it runs on it, and no pod of a test needs more."""
    has: dict[str, Any] = {"cpu": "64", "memory": "256Gi", "pods": "500"}
    return Node(
        metadata=ObjectMeta(name=name, annotations={FAKE: kind}, labels=labels),
        spec=NodeSpec(taints=[Taint(key=FAKE, effect="NoSchedule")]),
        status=NodeStatus(allocatable=has, capacity=has),
    )
