"""Which of several provisioners of a pool on Kubernetes works: the one that holds the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from kube import NAMESPACE, Kube
from provisioner_rigs import until

from streams.provisioners.kubernetes.leader_election import LeaderElection, LeaseTimings

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/foremesh-default"


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    async with Kube() as made:
        yield made


class Candidate:
    """Somebody who wants to lead."""

    def __init__(self, kube: Kube, name: str) -> None:
        times = LeaseTimings(lease_s=1.0, renew_s=0.6, retry_s=0.05)
        self.client = kube.connect()
        self.lease = LeaderElection(self.client, "foremesh-default", name, times)
        self.leads, self.stop = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self.lease.lead(self._run, self.stop))

    async def _run(self, over: asyncio.Event) -> None:
        self.leads.set()
        await over.wait()
        self.leads.clear()

    async def close(self) -> None:
        self.stop.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.client.close()


async def test_one_leads_and_the_next_follows_at_once_when_it_ends_well(kube: Kube) -> None:
    first = Candidate(kube, "first")
    await first.leads.wait()
    second = Candidate(kube, "second")
    await asyncio.sleep(0.3)
    assert not second.leads.is_set()
    first.stop.set()

    assert await first.task
    await asyncio.wait_for(second.leads.wait(), 0.5)
    await first.close()
    await second.close()


async def test_a_leader_renews_with_one_request_each_time(kube: Kube) -> None:
    leader = Candidate(kube, "leader")
    await leader.leads.wait()
    await until(lambda: len(kube.requests(LEASE)) > 5)

    assert [one.method for one in kube.requests(LEASE)].count("GET") == 1
    await leader.close()


async def test_a_leader_that_falls_silent_is_replaced_after_the_lease(kube: Kube) -> None:
    first = Candidate(kube, "first")
    await first.leads.wait()
    await first.client.close()  # it renews no more, and cannot say so
    second = Candidate(kube, "second")
    await asyncio.wait_for(second.leads.wait(), 3)

    spec = kube.get("coordination.k8s.io/v1/leases", "foremesh-default")["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 1)
    await first.close()
    await second.close()


async def test_a_leader_that_cannot_renew_steps_down_before_its_lease_ends(kube: Kube) -> None:
    leader = Candidate(kube, "leader")
    await leader.leads.wait()
    kube.refuse(LEASE, 503, "not now")

    assert not await asyncio.wait_for(leader.task, 1.0)
    await leader.close()
