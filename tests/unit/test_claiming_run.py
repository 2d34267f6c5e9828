"""A request of a gateway that claims instances itself: which it starts, and which it gives back."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import aiohttp
import pytest
from test_claims import instance, took
from test_standard_path import Rig

from streams.request_path.core.orchestration import ClientGone, ConstituentFailed
from streams.request_path.gateway.claiming import ClaimingRun
from streams.runtime.clock import wall_ms


class Run(ClaimingRun):
    """Calls that end with an error once a test says so; `a` was warm when the request arrived."""

    def __init__(self, rig: Rig, *step: str, error: Exception) -> None:
        rig.claims.observe(instance("x"))
        claimed = rig.claims.claim("a")
        assert claimed is not None
        super().__init__(
            request_id="r",
            steps=(step,),
            deadline_ms=wall_ms() + 1_000,
            values={},
            parameters={},
            session=cast("aiohttp.ClientSession", None),
            idempotent=True,
            claimed={"a": claimed},
            claims=rig.claims,
            standard_path=rig.path,
            unanswered=lambda claimed, _: rig.claims.release_unused(claimed),
        )
        self.fail, self.error = asyncio.Event(), error

    async def post(self, *_: object) -> Any:
        await self.fail.wait()
        raise self.error


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_no_instance_is_started_for_a_client_that_went_before_its_warm_one_died() -> None:
    rig = Rig(queue=1)
    run = Run(rig, "a", error=aiohttp.ServerDisconnectedError())
    running = asyncio.create_task(run.execute())
    await turns(2)
    run.abandon()
    run.fail.set()

    with pytest.raises(ClientGone):
        await running
    assert rig.starts == []


@pytest.mark.parametrize("moment", range(6))
async def test_an_instance_that_comes_as_another_part_fails_is_given_back(moment: int) -> None:
    rig = Rig(queue=1)
    run = Run(rig, "a", "b", error=ConstituentFailed("a failed"))
    running = asyncio.create_task(run.execute())
    await turns(3)
    rig.claims.observe(instance("y", "b"))
    await turns(moment)
    run.fail.set()

    with pytest.raises(ConstituentFailed):
        await running
    assert took(rig.claims.claim("b")) == "y"
