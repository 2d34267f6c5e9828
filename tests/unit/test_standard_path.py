"""Requests that wait for an instance which is started for them."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from provisioner_rigs import until
from test_claims import claims, instance, took

from streams.provisioners.core.interface import StandardPathRefused
from streams.records import Instance
from streams.request_path.core.claims import InstanceClaims
from streams.request_path.core.provisioner_client import ProvisionerClient
from streams.request_path.core.standard_path import StandardPath
from streams.runtime.clock import wall_ms

REFUSED = StandardPathRefused("no room")


class Rig:
    """A standard path whose starts end when and as a test says."""

    def __init__(self, queue: int) -> None:
        self.claims: InstanceClaims = claims()
        self.starts: list[asyncio.Future[Instance]] = []
        provisioner = cast("ProvisionerClient", self)
        self.path = StandardPath(self.claims, provisioner, concurrency=lambda _: 1, queue=queue)

    async def start(self, *_: object, **__: object) -> Instance:
        self.starts.append(asyncio.get_running_loop().create_future())
        return await self.starts[-1]

    async def ask(self) -> asyncio.Task[str]:
        """Have a request wait, so that what it needs is being started."""
        asking = asyncio.create_task(self._claim())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return asking

    async def _claim(self) -> str:
        return took(await self.path.claim("a", "r", wall_ms() + 5_000))


async def test_those_who_were_refused_leave_their_place_to_others() -> None:
    rig = Rig(queue=1)
    refused = await rig.ask()
    rig.starts[0].set_exception(REFUSED)
    with pytest.raises(StandardPathRefused, match="no room"):
        await refused

    served = await rig.ask()
    rig.starts[1].set_result(instance("x"))
    assert await served == "x"


async def test_a_place_that_was_refused_a_moment_ago_costs_nobody_else_theirs() -> None:
    rig = Rig(queue=3)
    first, second, third = [await rig.ask() for _ in range(3)]
    rig.claims.observe(instance("x"))  # serves the first, whose start is then for who waits
    for start in (rig.starts[1], rig.starts[0]):
        start.set_exception(REFUSED)
    with pytest.raises(StandardPathRefused):
        await second
    rig.starts[2].set_result(instance("y"))

    assert [await first, await third] == ["x", "y"]


async def test_a_start_that_ends_in_an_error_of_ours_stands_in_for_no_later_one() -> None:
    rig = Rig(queue=1)
    waiting = await rig.ask()
    rig.starts[0].set_exception(RuntimeError("a bug"))
    waiting.cancel()
    await asyncio.wait([waiting])

    served = await rig.ask()
    rig.starts[1].set_result(instance("x"))
    assert await served == "x"


async def test_an_instance_that_cannot_be_claimed_is_asked_for_again_after_a_pause() -> None:
    rig = Rig(queue=1)
    served = await rig.ask()
    rig.starts[0].set_result(instance("x", pool="another"))
    await asyncio.sleep(0.02)
    assert len(rig.starts) == 1

    await until(lambda: len(rig.starts) == 2)
    rig.starts[1].set_result(instance("y"))
    assert await served == "y"
