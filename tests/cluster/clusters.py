"""The cluster of a session, a fixture: `pytest_plugins = ["clusters"]` in a module of tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from binaries import programs
from control_plane import ControlPlane, control_plane
from house import ClusterHouse
from kwok import fake_node, kwok

NODES = 12


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane, and a dozen nodes of kwok's."""
    found = programs()
    with control_plane(found, tmp_path_factory.mktemp("cluster")) as there, kwok(found, there):
        asyncio.run(add_nodes(there))
        ClusterHouse.cluster = there
        yield there


async def add_nodes(there: ControlPlane) -> None:
    client = there.connect("default")
    for number in range(NODES):
        await client.create(fake_node(f"kwok-{number}"))
    await client.close()
