"""The chart on a real node: a log produced, a pod started ahead, a request served by it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator

import click
import pytest
from checkout_catalog import checkout_catalog
from harness import eventually
from installing import FIRST_WARM_S, ON_A_NODE, a_shop, warmed
from node import NAME
from shops import FOREMESH, Reply, Shop, all_served_once, asked_during, hit, holds

pytestmark = ON_A_NODE

DRAIN_S = 120
PARTS = ("worker", "sink", "provisioner", "gateway")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The chart with the gateway, installed on one real node."""
    with a_shop(tmp_path_factory.mktemp("shop"), PARTS, ["pricing"]) as there:
        yield there


async def test_a_request_is_served_by_a_pod_that_was_warm_soon_after_the_chart_is_installed_and_is_a_row(
    shop: Shop,
) -> None:
    with warmed(shop, checkout_catalog(0.001), "checkout") as took:
        click.echo(f"\nhelm install to the first warm pod: {took:.0f} s")
        request_id, reply = await hit(lambda request_id: ask(shop, request_id), "first")

    assert took < FIRST_WARM_S
    assert reply.status == 200
    told = "SELECT result, route, source FROM outcomes WHERE request_id = "
    await holds(lambda: shop.query(f"{told}'{request_id}'") == [("hit", "preallocated", "gateway")])


def ask(shop: Shop, request_id: str) -> Awaitable[Reply]:
    """Ask for a checkout, as ann."""
    token = f"Bearer {'users-token' * 4}"
    return shop.ask("gateway", "checkout", request_id, authorization=token, x_foremesh_user="ann")


def test_every_pod_of_the_release_is_ready(shop: Shop) -> None:
    eventually(shop.all_ready, 120)


def test_no_pod_of_the_release_was_restarted_while_it_waited_for_topics_and_tables(
    shop: Shop,
) -> None:
    assert shop.restarted() == {}


async def test_a_rolling_upgrade_fails_no_request_and_each_has_one_outcome(shop: Shop) -> None:
    rolled = asyncio.to_thread(shop.roll, *PARTS)
    replies = await asked_during(rolled, lambda number: ask(shop, f"rolled-{number}"))

    click.echo(f"\n{len(replies)} requests during a rolling upgrade")
    await all_served_once(shop, replies, "rolled-")


async def test_a_worker_that_hangs_is_restarted(shop: Shop) -> None:
    await shop.hang("worker", "worker", FOREMESH, "worker")


def test_a_node_is_drained_and_the_release_is_ready_again_once_there_is_one(shop: Shop) -> None:
    how = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={DRAIN_S}s")
    shop.kubectl("drain", NAME, *how)
    shop.kubectl("uncordon", NAME)

    shop.kubectl("wait", "--for=condition=available", "deployment", *PARTS, "--timeout=180s")
