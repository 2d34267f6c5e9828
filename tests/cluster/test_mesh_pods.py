"""Envoy and what it calls in one pod of a real node: users' requests come to the mesh's Service."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Iterator

import click
import pytest
from installing import FIRST_WARM_S, ON_A_NODE, a_shop, warmed
from issuer import token
from shops import AHEAD, FOREMESH, Reply, Shop, all_served_once, asked_during, hit, holds

from streams.request_path.envoy.addresses import PROCESSES

pytestmark = ON_A_NODE

PARTS = ("worker", "sink", "provisioner", "mesh")
# One that is claimed for each request, one that Envoy alone balances, and one of both.
CATALOG = """
constituents:
  pricing: {cpu: 50, memory: 64, warm_up_ms: 4000, price: 0.001}
  stock: {cpu: 50, memory: 64, warm_up_ms: 4000, price: 0.001, concurrency: 8}
composites:
  quote: [pricing]
  shelf: [stock]
  checkout: [[pricing, stock]]
tiers:
  standard: {weight: 0.02, sla_ms: 2000}
pools:
  default: {cpu: 1000, memory: 4096, bandwidth: 1000}
"""
# The pods that served a request of ann's, each warm before it came.
SERVED = f"""
SELECT array_agg(instance_id ORDER BY instance_id)
FROM outcomes JOIN outcome_parts USING (request_id, user_id) JOIN instances USING (instance_id)
WHERE (request_id, user_id, result, route) = ('{{}}', 'ann', 'hit', 'preallocated')
  AND warm_since < at AND {AHEAD}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The chart with the mesh, in which ann's next checkouts are expected."""
    folder, images = tmp_path_factory.mktemp("shop"), ("foremesh", "foremesh-envoy")
    with (
        a_shop(folder, PARTS, ["pricing", "stock"], images) as there,
        warmed(there, CATALOG, "checkout", constituents=2) as took,
    ):
        click.echo(f"\nhelm install to warm pods of both constituents: {took:.0f} s")
        yield there


async def test_a_users_request_is_a_hit_soon_after_the_chart_is_installed(shop: Shop) -> None:
    await hit(lambda request_id: ask(shop, "quote", request_id), "first")
    took = time.monotonic() - shop.installed_s

    click.echo(f"\nhelm install to the first hit through Envoy: {took:.0f} s")
    assert took < FIRST_WARM_S


@pytest.mark.parametrize(("composite", "parts"), [("quote", 1), ("shelf", 1), ("checkout", 2)])
async def test_a_request_is_served_by_pods_that_were_warm_before_it_and_is_one_row(
    shop: Shop, composite: str, parts: int
) -> None:
    request_id, reply = await hit(lambda name: ask(shop, composite, name), composite)

    assert reply.status == 200, reply.said
    pods = sorted(re.findall(r'"pod": ?"([^"]+)"', reply.said))
    assert len(pods) == parts
    await holds(lambda: shop.query(SERVED.format(request_id)) == [(pods,)])
    assert shop.query(f"SELECT count(*) FROM outcomes WHERE request_id = '{request_id}'") == [(1,)]


async def test_who_shows_no_token_of_the_issuer_is_refused(shop: Shop) -> None:
    reply = await shop.ask("mesh", "quote", "nobody", authorization="Bearer no.token.atall")

    assert reply.status == 401
    assert shop.query("SELECT 1 FROM outcomes WHERE user_id <> 'ann'") == []


async def test_every_container_is_ready_and_none_was_restarted_while_it_waited(shop: Shop) -> None:
    await holds(shop.all_ready)

    assert set(shop.containers("mesh")) == set(PROCESSES)
    assert shop.restarted() == {}


async def test_a_rolling_upgrade_fails_no_request_and_each_has_one_outcome(shop: Shop) -> None:
    rolled = asyncio.to_thread(shop.roll, "mesh")
    replies = await asked_during(rolled, lambda number: ask(shop, "shelf", f"rolled-{number}"))

    click.echo(f"\n{len(replies)} requests during a rolling upgrade of the mesh")
    await all_served_once(shop, replies, "rolled-")


async def test_a_control_plane_that_hangs_is_restarted_and_users_are_served_meanwhile(
    shop: Shop,
) -> None:
    async def restarted() -> None:
        await shop.hang("mesh", "control", FOREMESH, "mesh", "control")
        await holds(shop.all_ready)

    replies = await asked_during(restarted(), lambda number: ask(shop, "shelf", f"hung-{number}"))

    click.echo(f"\n{len(replies)} requests while the control plane hung and started")
    await all_served_once(shop, replies, "hung-")


async def test_an_envoy_that_hangs_is_restarted_and_serves_hits_again(shop: Shop) -> None:
    await shop.hang("mesh", "envoy", "/opt/foremesh/bin/envoy", "-c")

    await holds(shop.all_ready)
    await hit(lambda request_id: ask(shop, "quote", request_id), "again")


def ask(shop: Shop, composite: str, request_id: str) -> Awaitable[Reply]:
    """Ask for a composite, as who the token says."""
    return shop.ask("mesh", composite, request_id, authorization=f"Bearer {token(sub='ann')}")
