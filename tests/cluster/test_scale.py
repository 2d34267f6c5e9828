"""A thousand constituents: how soon their pods are scheduled, and what it asks of the API server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import click
import pytest
from audit import asked, table
from house import ClusterHouse
from lightkube.resources.apps_v1 import Deployment

from foremesh.testing.provisioners import catalog_of, order, until
from streams.provisioners.kubernetes.leader_election import LeaderElection

pytest_plugins = ["clusters"]
pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.timeout(900)]

CONSTITUENTS, AT_ONCE, EVERY_S = 1_000, 2, 1.0
COMMANDS = 100
IDLE_S = 30.0
SOON_MS = 2_000  # far more than it takes on a machine that does nothing else


class LargeHouse(ClusterHouse):
    limits = replace(ClusterHouse.limits, starts=256, start_ms=60_000)


@pytest.fixture(scope="module")
async def large(cluster: object) -> AsyncIterator[LargeHouse]:
    """A provisioner of a thousand constituents."""
    del cluster
    names = [f"c{number}" for number in range(CONSTITUENTS)]
    async with LargeHouse(catalog_of(*map(LargeHouse.quick, names), room=CONSTITUENTS)) as here:
        await settled(here)
        await here.open()
        yield here


async def settled(here: LargeHouse) -> None:
    """Wait until the controllers have nothing to do any more."""
    busy = True
    while busy:
        await asyncio.sleep(1.0)
        listed = here.tenant.admin.list(Deployment, chunk_size=500)
        busy = any([behind(one) async for one in listed])


def behind(one: Deployment) -> bool:
    assert one.metadata
    seen = one.status.observedGeneration if one.status else None
    return seen != one.metadata.generation


async def test_pods_are_scheduled_soon_after_the_command(large: LargeHouse) -> None:
    first = await start_each(large, 1)
    again = await start_each(large, 2)

    for name, took in (("first", first), ("second", again)):
        told = f"p50 {quantile(took, 0.5):.0f} ms, p99 {quantile(took, 0.99):.0f} ms"
        click.echo(f"\ncommand to scheduled, {COMMANDS} {name} pods: {told}")
    assert quantile(first, 0.5) < SOON_MS


async def start_each(here: LargeHouse, number: int) -> list[float]:
    """Have one more pod of each of some constituents, so many a second; how many ms each took."""
    began: dict[str, float] = {}
    services, scheduled = list(here.catalog.constituents), here.tenant.scheduled
    for first in range(0, COMMANDS, AT_ONCE):
        next_s = time.monotonic() + EVERY_S
        for service in services[first : first + AT_ONCE]:
            began[service] = time.monotonic()
            await here.now.carry_out(order(service, name=f"{service}-{number}"))
        await asyncio.sleep(max(0.0, next_s - time.monotonic()))
    await until(lambda: all(len(scheduled[one]) >= number for one in began), 60)
    return [1_000 * (scheduled[one][number - 1] - at) for one, at in began.items()]


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


async def test_an_idle_leader_and_its_standby_ask_less_than_twice_a_second(
    large: LargeHouse,
) -> None:
    stop = asyncio.Event()
    clients = [large.tenant.connect() for _ in range(2)]
    elections = [LeaderElection(one, "idle", str(n)) for n, one in enumerate(clients)]

    async def lead(over: asyncio.Event) -> None:
        await over.wait()

    candidates = [asyncio.create_task(one.lead(lead, stop)) for one in elections]
    await asyncio.sleep(3.0)
    since = large.cluster.audit.stat().st_size
    await asyncio.sleep(IDLE_S)
    requests = asked(large.cluster.audit, large.tenant.namespace, since)
    stop.set()
    await asyncio.gather(*candidates)
    for one in clients:
        await one.close()

    click.echo("\n".join(["\nidle, with a thousand constituents:", *table(requests, IDLE_S)]))
    assert len(requests) / IDLE_S < 2


async def test_nothing_is_listed_without_pages_and_each_kind_is_watched_once(
    large: LargeHouse,
) -> None:
    requests = asked(large.cluster.audit, large.tenant.namespace)

    assert {
        one.resource for one in requests if one.verb == "list" and "limit" not in one.query
    } == set()
    watched = [one.resource for one in requests if one.verb == "watch"]
    assert sorted(watched) == ["deployments", "pods"]


async def test_no_request_is_refused_but_for_what_the_cluster_lacks(large: LargeHouse) -> None:
    refused = {
        (one.verb, one.resource, one.code)
        for one in asked(large.cluster.audit, large.tenant.namespace)
        if one.code >= 400
    }

    # There is no metrics server; the lease is looked for before it is made, by one of two.
    leases = {("get", "leases", 404), ("create", "leases", 409)}
    assert refused <= {("list", "pods", 404), *leases}
