"""`foremesh provision --on kubernetes`, two of them: what they publish, and who leads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from control_plane import ControlPlane
from harness import RunForemesh, Running, eventually
from live import Live
from services import send
from tenant import Tenant, quota

from foremesh.testing.provisioners import ONE, catalog_of, order
from streams.records import Instance, InstanceState
from streams.records.catalog import Constituent
from streams.records.control import Mode
from streams.records.verdicts import Choice, Verdict
from streams.runtime.clock import wall_ms
from streams.runtime.ports import free_port

pytest_plugins = ["clusters"]
pytestmark = pytest.mark.timeout(600)

LEASE_S = 15.0


def constituent(name: str) -> Constituent:
    return Constituent(service=name, needs=ONE, warm_up_ms=100, price=1.0)


@pytest.fixture
async def tenant(cluster: ControlPlane) -> AsyncIterator[Tenant]:
    async with Tenant(cluster) as made:
        for service in "ab":
            await made.deploy(service)
        yield made


@pytest.fixture
def provisioners(
    live: Live, tenant: Tenant, run_foremesh: RunForemesh, tmp_path: Path
) -> list[Running]:
    """A leader, and one that stands by."""
    send(live.settings, catalog_of(*map(constituent, "ab")))
    config = tenant.kubeconfig(tmp_path / "kubeconfig")
    started = []
    for _ in range(2):
        one = run_foremesh(
            *("provision", "--on", "kubernetes", "--listen", f"127.0.0.1:{free_port()}"),
            KUBECONFIG=str(config),
        )
        started.append(one)
        if len(started) == 1:
            eventually(lambda: "Became the leader" in started[0].output, 60)
    return started


def told(live: Live, state: InstanceState) -> list[Instance]:
    found = [one for one in live.records("instances") if isinstance(one, Instance)]
    newest = {one.instance_id: one for one in found}
    return [one for one in newest.values() if one.state is state]


def test_a_standby_leads_once_the_leader_was_killed_and_keeps_what_is_warm(
    live: Live, provisioners: list[Running]
) -> None:
    send(live.settings, [order("a", name="c1")])
    eventually(lambda: told(live, InstanceState.WARM), 60)
    leader, standby = provisioners
    began = time.monotonic()
    leader.process.kill()
    leader.wait()
    send(live.settings, [order("b", name="c2")])
    eventually(lambda: len(told(live, InstanceState.WARM)) == 2, 90)

    assert "Became the leader" in standby.output
    assert not told(live, InstanceState.GONE)
    assert time.monotonic() - began < LEASE_S + 30


async def test_what_a_quota_prevented_is_a_sentence_of_explain(
    live: Live, provisioners: list[Running], tenant: Tenant
) -> None:
    del provisioners
    await tenant.create(quota(0))
    live.sink()
    send(live.settings, [verdict("a", "c1"), order("a", name="c1")])
    await asyncio.to_thread(eventually, lambda: told(live, InstanceState.GONE), 60)
    await asyncio.to_thread(eventually, lambda: live.rows("instances") and live.rows("verdicts"))

    said = await asyncio.to_thread(live.run, "explain", "c1")
    assert "crashed: Kubernetes made no pod: " in said
    assert "exceeded quota: small" in said


def verdict(service: str, command_id: str) -> Verdict:
    return Verdict(
        pool="default",
        service=service,
        at_ms=wall_ms(),
        choice=Choice.START,
        mode=Mode.ON,
        command_id=command_id,
        instance=1,
        have=0,
        chance=0.7,
        value=0.04,
        cost=0.02,
        bound="value",
        tier="gold",
        price=0.6,
        horizon_ms=120_000,
        warm_up_ms=1_000,
        expected=(),
        alternatives=(),
    )
