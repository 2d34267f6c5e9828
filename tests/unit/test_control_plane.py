from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any, cast

from services import catalog_of, constituent

from streams.records import Instance
from streams.records.catalog import Catalog
from streams.request_path.core.topic_watch import CatalogAndInstanceWatch
from streams.request_path.envoy.addresses import MeshAddresses, resolve
from streams.request_path.envoy.control_plane import ControlPlane
from streams.request_path.envoy.discovery import CLUSTERS
from streams.request_path.envoy.endpoints import EndpointTable
from streams.request_path.envoy.policy import RoutePolicy


class ReadWatch:
    """A catalogue that was read, and no instances."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.instances: dict[str, Instance] = {}

    def take_changed(self) -> list[Instance]:
        return []


def control_plane(watch: ReadWatch) -> ControlPlane:
    addresses = MeshAddresses.on(range(10_001, 10_001 + len(fields(MeshAddresses))))
    endpoints = EndpointTable("default", resolve(addresses.activate))
    read = cast(CatalogAndInstanceWatch, watch)
    return ControlPlane(read, endpoints, addresses, RoutePolicy())


def clusters_of(plane: ControlPlane) -> set[str]:
    return set(plane.snapshot.since(CLUSTERS, {}, ()))


async def test_envoys_are_served_while_a_large_catalogue_becomes_configuration() -> None:
    watch = ReadWatch(catalog_of(constituent("first")))
    plane = control_plane(watch)
    watch.catalog = catalog_of(*(constituent(f"s{n}") for n in range(400)))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    others: asyncio.Task[Any] = asyncio.create_task(take_turns())
    await plane.update_catalog()
    others.cancel()

    assert (
        turns >= 5
    )  # none, if it were made in the event loop; how long each takes is the machine's
    assert {"s0", "s399"} <= clusters_of(plane)
    assert "first" not in clusters_of(plane)
