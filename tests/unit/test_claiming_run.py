"""A request of a gateway that claims instances itself: which it starts, and which it gives back."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from msgspec import Raw
from services import catalog_of, constituent
from test_claims import instance, took
from test_standard_path import Rig

from streams.adapters.kafka.broker_watch import BrokerWatch
from streams.records import Request
from streams.request_path.core.event_buffer import EventBuffer
from streams.request_path.core.orchestration import (
    ClientGone,
    ConstituentFailed,
    ConstituentLate,
)
from streams.request_path.core.warm_pool import WarmPool
from streams.request_path.gateway.claiming import ClaimingRequestHandler, ClaimingRun
from streams.runtime.clock import wall_ms


class Run(ClaimingRun):
    """Calls that end with an error once a test says so; `a` was warm when the request arrived."""

    def __init__(
        self,
        rig: Rig,
        *step: str,
        error: Exception | None = None,
        then: tuple[str, ...] = (),
        status: int = 500,
    ) -> None:
        for name, service in (("x", "a"), *((f"x-{one}", one) for one in then)):
            rig.claims.observe(instance(name, service))
        rig.claims.collect_reports()
        claimed = {name: rig.claims.claim(name) for name in ("a", *then)}
        super().__init__(
            request_id="r",
            steps=(step, then) if then else (step,),
            deadline_ms=wall_ms() + 1_000,
            values={},
            parameters={},
            session=cast("aiohttp.ClientSession", None),
            idempotent=True,
            claimed={name: one for name, one in claimed.items() if one},
            claims=rig.claims,
            standard_path=rig.path,
            unanswered=lambda claimed, _: rig.claims.release_unused(claimed),
        )
        self.fail, self.error, self.status = asyncio.Event(), error, status

    async def post(self, *_: object) -> Any:
        await self.fail.wait()
        if self.error:
            raise self.error
        return Raw(b"null"), SimpleNamespace(status=self.status)


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
    await rig.path.close()


async def failing(run: Run, took_s: float = 0.0) -> None:
    """Run it until its call fails, so long after it began."""
    asyncio.get_running_loop().call_later(took_s, run.fail.set)
    with pytest.raises(ConstituentFailed):
        await run.execute()


@pytest.mark.parametrize("error", [None, ConstituentFailed("no JSON"), ConstituentLate("late")])
async def test_an_instance_that_fails_is_named_with_the_time_that_it_took(
    error: ConstituentFailed | None,
) -> None:
    run = Run(Rig(queue=1), "a", error=error)
    await failing(run, took_s=0.05)

    part = run.part_of("a")
    assert (part.warm, part.instance_id) == (True, "x")
    assert part.serve_ms >= 40


async def test_an_instance_that_answers_with_an_error_was_used_for_as_long_as_it_took() -> None:
    rig = Rig(queue=1)
    run = Run(rig, "a")
    await failing(run, took_s=0.05)

    (use,) = rig.claims.collect_reports()
    assert (use.instance_id, use.in_flight, use.uses) == ("x", 0, 1)
    assert use.busy_ms >= run.part_of("a").serve_ms >= 40


async def test_an_instance_of_a_later_step_is_busy_from_the_moment_it_is_claimed() -> None:
    rig = Rig(queue=1)
    run = Run(rig, "a", then=("b",), status=200)
    asyncio.get_running_loop().call_later(0.05, run.fail.set)
    await run.execute()

    busy_ms = {use.instance_id: use.busy_ms for use in rig.claims.collect_reports()}
    assert busy_ms["x-b"] >= 40 > run.part_of("b").serve_ms


async def test_an_instance_that_was_never_called_was_not_used() -> None:
    rig = Rig(queue=1)
    await failing(Run(rig, "a", then=("b",)))

    uses = {use.instance_id: use for use in rig.claims.collect_reports()}
    assert (uses["x"].uses, uses["x-b"].uses, uses["x-b"].in_flight) == (1, 0, 0)


async def test_a_clock_that_steps_back_makes_no_negative_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(queue=1)
    run = Run(rig, "a", "b", error=ConstituentFailed("failed"))
    running = asyncio.create_task(run.execute())
    await turns(3)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    rig.claims.observe(instance("y", "b"))
    await turns(5)
    run.fail.set()
    with pytest.raises(ConstituentFailed):
        await running

    assert run.part_of("b").instance_id == "y"
    assert run.part_of("b").wait_ms == 0
    await rig.path.close()


async def test_a_request_waits_with_the_priority_of_its_tier() -> None:
    rig, catalog = Rig(queue=1), catalog_of(constituent("a"))
    warm = SimpleNamespace(
        catalog=catalog,
        claims=rig.claims,
        standard_path=rig.path,
        unanswered=SimpleNamespace(check=rig.claims.discard),
    )
    handler = ClaimingRequestHandler(
        "default",
        60_000,
        warm=cast("WarmPool", warm),
        session=cast("aiohttp.ClientSession", None),
        events=cast("EventBuffer", None),
        broker=cast("BrokerWatch", None),
    )
    gold = Request(request_id="r", user="ann", service="only-a", at_ms=wall_ms(), tier="gold")
    run = handler.start_run(catalog.composites["only-a"], gold, {}, idempotent=False)
    running = asyncio.create_task(run.execute())
    await turns(5)

    assert [place.priority for place in rig.claims.queue("a")] == [2]
    run.abandon()
    with pytest.raises(ClientGone):
        await running
    await rig.path.close()
