"""Leaders whose API server does not do as it should."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from httpx2 import ConnectError
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease

from streams.provisioners.kubernetes.leader_election import LeaderElection, LeaseTimings

TIMES = LeaseTimings(lease_s=0.6, renew_s=0.4, retry_s=0.05)


class Server:
    """One lease; answers, refuses, or is silent, as a test has it."""

    def __init__(self) -> None:
        self.does: Callable[[], Awaitable[None]] = self.answer
        self.renewed_s = 0.0  # when it last wrote the lease

    async def answer(self) -> None:
        pass

    async def refuse(self) -> None:
        raise ConnectError("refused")

    async def hang(self) -> None:
        await asyncio.Event().wait()

    async def get(self, *_: object) -> Lease:
        await self.does()
        return Lease(metadata=ObjectMeta(resourceVersion="1"), spec=LeaseSpec())

    async def patch(self, _kind: object, _name: str, lease: Lease, **_: object) -> Lease:
        await self.does()
        self.renewed_s = time.monotonic()
        return lease


def led(
    server: Any, run: Callable[[asyncio.Event], Awaitable[Any]], stop: asyncio.Event
) -> asyncio.Task[bool]:
    election = LeaderElection(server, "foremesh-default", "first", TIMES)
    return asyncio.create_task(election.lead(run, stop))


async def test_a_leader_that_is_refused_and_then_hears_nothing_steps_down_in_time() -> None:
    server = Server()
    leads = led(server, asyncio.Event.wait, asyncio.Event())
    await asyncio.sleep(0.1)
    server.does = server.refuse
    await asyncio.sleep(TIMES.renew_s * 0.8)
    server.does = server.hang

    assert not await asyncio.wait_for(leads, 5)
    assert time.monotonic() - server.renewed_s < TIMES.lease_s


async def test_what_a_former_leader_does_is_over_before_its_lease_is() -> None:
    server, works = Server(), asyncio.Event()

    async def finish_requests(over: asyncio.Event) -> None:
        works.set()
        await over.wait()
        try:
            await asyncio.sleep(5)
        finally:
            works.clear()

    leads = led(server, finish_requests, asyncio.Event())
    await works.wait()
    server.does = server.refuse

    assert not await asyncio.wait_for(leads, 5)
    assert time.monotonic() - server.renewed_s < TIMES.lease_s + 0.5  # where a busy machine is late
    assert not works.is_set()


async def test_who_loses_the_lease_while_it_finishes_is_cancelled_too() -> None:
    server, stop, works = Server(), asyncio.Event(), asyncio.Event()

    async def finish_requests(over: asyncio.Event) -> None:
        works.set()
        await over.wait()
        server.does = server.refuse
        await asyncio.sleep(5)

    leads = led(server, finish_requests, stop)
    await works.wait()
    stop.set()

    assert not await asyncio.wait_for(leads, 3)


async def test_who_still_leads_has_the_time_to_finish() -> None:
    stop, works, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def finish_requests(over: asyncio.Event) -> None:
        works.set()
        await over.wait()
        await asyncio.sleep(2 * TIMES.lease_s)
        done.set()

    leads = led(Server(), finish_requests, stop)
    await works.wait()
    stop.set()

    assert await asyncio.wait_for(leads, 5)
    assert done.is_set()
