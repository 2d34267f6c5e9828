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
from streams.request_path.core.provisioner_client import ProvisionerAway, ProvisionerClient
from streams.request_path.core.standard_path import PATIENCE_S, StandardPath
from streams.runtime.clock import wall_ms

REFUSED = StandardPathRefused("no room")


class Rig:
    """A standard path whose starts end when and as a test says."""

    def __init__(self, queue: int, concurrency: int = 1) -> None:
        self.claims: InstanceClaims = claims(concurrency=concurrency)
        self.starts: list[asyncio.Future[Instance]] = []
        self.started_for: list[str] = []
        provisioner = cast("ProvisionerClient", self)
        self.path = StandardPath(
            self.claims, provisioner, concurrency=lambda _: concurrency, queue=queue
        )

    async def start(self, constituent: str, request_id: str, *_: object, **__: object) -> Instance:
        del constituent
        self.started_for.append(request_id)
        self.starts.append(asyncio.get_running_loop().create_future())
        return await self.starts[-1]

    async def ask(
        self, request_id: str = "r", patience_ms: int = 60_000, priority: int = 0
    ) -> asyncio.Task[str]:
        """Have a request wait, so that what it needs is being started."""
        asking = asyncio.create_task(self._claim(request_id, patience_ms, priority))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return asking

    async def started(self, number: int) -> asyncio.Future[Instance]:
        """A start, once it is asked for."""
        await until(lambda: len(self.starts) > number)
        return self.starts[number]

    async def _claim(self, request_id: str, patience_ms: int, priority: int) -> str:
        return took(await self.path.claim("a", request_id, wall_ms() + patience_ms, priority))


async def test_those_who_were_refused_leave_their_place_to_others() -> None:
    rig = Rig(queue=1)
    refused = await rig.ask()
    rig.starts[0].set_exception(REFUSED)
    with pytest.raises(StandardPathRefused, match="no room"):
        await refused

    served = await rig.ask()
    rig.starts[1].set_result(instance("x"))
    assert await served == "x"


async def test_a_request_waits_for_a_provisioner_that_starts_again() -> None:
    rig = Rig(queue=1)
    asked = await rig.ask()
    rig.starts[0].set_exception(ProvisionerAway("nobody listens", for_s=0.0))
    (await rig.started(1)).set_result(instance("x"))

    assert await asked == "x"


async def test_no_request_waits_for_a_provisioner_that_stays_away() -> None:
    rig = Rig(queue=1)
    asked = await rig.ask()
    rig.starts[0].set_exception(ProvisionerAway("nobody listens", for_s=PATIENCE_S + 1))

    with pytest.raises(StandardPathRefused, match="nobody listens"):
        await asked
    assert len(rig.starts) == 1


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


async def test_those_who_shared_a_start_that_was_refused_have_another_one() -> None:
    rig = Rig(queue=3, concurrency=3)
    first, second, third = [await rig.ask(name) for name in ("1", "2", "3")]
    rig.starts[0].set_exception(REFUSED)
    with pytest.raises(StandardPathRefused, match="no room"):
        await first
    (await rig.started(1)).set_result(instance("x"))

    assert [await second, await third] == ["x", "x"]
    assert len(rig.starts) == 2


async def test_those_who_shared_a_start_are_all_told_that_there_is_no_room() -> None:
    rig = Rig(queue=3, concurrency=3)
    asked = [await rig.ask(name) for name in ("1", "2", "3")]
    for number in range(3):
        (await rig.started(number)).set_exception(REFUSED)

    errors = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(error) for error in errors] == ["no room"] * 3
    assert sorted(rig.started_for) == ["1", "2", "3"]


async def test_a_start_that_is_refused_at_the_deadline_of_one_request_costs_no_other_its_wait() -> (
    None
):
    rig = Rig(queue=2, concurrency=2)
    hasty, patient = await rig.ask("hasty", patience_ms=20), await rig.ask("patient")
    with pytest.raises(StandardPathRefused, match="in time"):
        await hasty
    rig.starts[0].set_exception(REFUSED)
    (await rig.started(1)).set_result(instance("x"))

    assert await patient == "x"
    assert rig.started_for == ["hasty", "patient"]


async def test_who_shared_a_start_of_an_instance_that_nobody_can_claim_has_another_one() -> None:
    rig = Rig(queue=2, concurrency=2)
    leaves, stays = await rig.ask("leaves"), await rig.ask("stays")
    leaves.cancel()
    await asyncio.wait([leaves])
    rig.starts[0].set_result(instance("x", pool="another"))
    (await rig.started(1)).set_result(instance("y"))

    assert await stays == "y"


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


async def test_of_those_who_wait_a_higher_priority_is_served_first() -> None:
    rig = Rig(queue=4)
    asked = [await rig.ask(priority=priority) for priority in (0, 10, 0, 10)]
    for name in ("1st", "2nd", "3rd", "4th"):
        rig.claims.observe(instance(name))

    assert await asyncio.gather(*asked) == ["3rd", "1st", "4th", "2nd"]
    await rig.path.close()


async def test_a_higher_priority_takes_the_last_place_of_a_full_queue() -> None:
    rig = Rig(queue=2)
    first, last, gold = [await rig.ask(priority=priority) for priority in (0, 0, 10)]
    with pytest.raises(StandardPathRefused, match="2 requests wait already for a"):
        await last
    rig.claims.observe(instance("x"))
    rig.claims.observe(instance("y"))

    assert [await gold, await first] == ["x", "y"]
    await rig.path.close()


async def test_who_comes_to_a_full_queue_of_its_own_priority_is_refused() -> None:
    rig = Rig(queue=1)
    first, second = await rig.ask(priority=10), await rig.ask(priority=10)
    with pytest.raises(StandardPathRefused, match="1 requests wait already for a"):
        await second
    rig.claims.observe(instance("x"))

    assert await first == "x"
    await rig.path.close()
