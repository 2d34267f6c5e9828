"""The rules of starts that need a base, with instances that are only promised."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from provisioner_rigs import Told, until, want
from services import ONE, catalog_of, command, constituent

from streams.provisioners.core.interface import InstanceUse, ProvisionerLimits, StandardPathRefused
from streams.provisioners.core.ledger import HeldInstance
from streams.provisioners.core.lifecycle import InstanceLifecycle
from streams.provisioners.core.pool_provisioner import PoolProvisioner
from streams.records import Action, Instance, InstanceState
from streams.records.catalog import Catalog
from streams.runtime.clock import wall_ms

MODEL = constituent("model")
SKETCH = replace(constituent("sketch"), base="model")
PHOTO = replace(constituent("photo"), base="model")
QUICK = ProvisionerLimits(starts=1, grace_ms=1, backoff_ms=10_000)


class Promised(InstanceLifecycle):
    """Instances that are warm at once, or fail, or are waited for, as a test has it."""

    layered = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.begun: list[str] = []
        self.failing: set[str] = set()
        self.broken: set[str] = set()
        self.held_up: dict[str, asyncio.Event] = defaultdict(_set)

    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        del known
        return frozenset()

    async def start(self, held: HeldInstance) -> None:
        if self._discard_if_late(held):
            return
        service = held.instance.service
        self.begun.append(service)
        if service in self.broken:
            raise RuntimeError("nobody foresaw this")
        await self.held_up[service].wait()
        base = held.base
        if service in self.failing or (base is not None and base.ready.exception() is not None):
            self._mark_gone(held, f"crashed: {service} was to fail")
        else:
            self._mark_warm(held)

    async def stop(self, held: HeldInstance) -> None:
        self._mark_gone(held, held.end_reason)

    async def close(self) -> None:
        self._closing = True
        await asyncio.gather(*self._tasks)


class Unfit(Promised):
    """Works until what has to run for ever fails; cannot end what it started."""

    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        self._spawn(self._follow(), vital=True)
        return await super().open(known)

    async def _follow(self) -> None:
        await self.held_up["follow"].wait()
        raise RuntimeError("nobody foresaw this")

    async def stop(self, held: HeldInstance) -> None:
        raise RuntimeError(f"{held.instance.service} cannot be ended")


class Unlayered(Promised):
    layered = False


class Outlived(Promised):
    """Adopts what a predecessor has left, with the commands that it had carried out."""

    async def open(self, known: Sequence[Instance]) -> frozenset[str]:
        for one in known:
            self._ledger.adopt(constituent(one.service), one, wall_ms())
        return frozenset(one.command_id for one in known)


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@asynccontextmanager
async def pool(
    catalog: Catalog, limits: ProvisionerLimits = QUICK, lives: type[Promised] = Promised
) -> AsyncIterator[tuple[PoolProvisioner[Promised], Told]]:
    told = Told()
    made = PoolProvisioner("default", lambda: catalog, told.records.append, limits, lives)
    await made.open()
    try:
        yield made, told
    finally:
        for event in made.lifecycle.held_up.values():
            event.set()
        await made.close()


def live(provisioner: PoolProvisioner[Promised]) -> list[str]:
    return sorted(one.service for one in provisioner.instances())


async def test_a_start_begins_the_base_that_it_needs_with_one_start_at_a_time() -> None:
    async with pool(catalog_of(MODEL, SKETCH, PHOTO)) as (here, told):
        await here.carry_out(command("sketch"))
        await here.carry_out(command("photo"))
        await until(lambda: len(told.last(InstanceState.WARM)) == 3)

        assert here.lifecycle.begun == ["model", "sketch", "photo"]


async def test_two_requests_at_once_share_the_base_that_neither_finds() -> None:
    async with pool(catalog_of(MODEL, SKETCH, PHOTO)) as (here, _):
        asked = [here.standard(want("sketch", "r1")), here.standard(want("photo", "r2"))]
        await asyncio.gather(*asked)

        assert live(here) == ["model", "photo", "sketch"]


async def test_others_start_while_a_start_waits_for_its_base() -> None:
    limits = replace(QUICK, starts=2)
    async with pool(catalog_of(MODEL, SKETCH, constituent("other")), limits) as (here, told):
        here.lifecycle.held_up["model"].clear()
        await here.carry_out(command("sketch"))
        await here.carry_out(command("other"))
        await until(lambda: told.last(InstanceState.WARM))

        assert here.lifecycle.begun == ["model", "other"]


async def test_who_waits_for_a_start_hurries_its_base() -> None:
    catalog = catalog_of(MODEL, SKETCH, constituent("first"), constituent("other"), room=9)
    async with pool(catalog) as (here, _):
        here.lifecycle.held_up["first"].clear()
        await here.carry_out(command("first"))
        await here.carry_out(command("other"))
        await here.carry_out(command("sketch"))
        asked = asyncio.create_task(here.standard(want("sketch")))
        await asyncio.sleep(0)
        here.lifecycle.held_up["first"].set()
        await asked

        assert here.lifecycle.begun[:3] == ["first", "model", "sketch"]


async def test_a_base_waits_as_long_as_the_last_that_needs_it() -> None:
    async with pool(catalog_of(MODEL, SKETCH, constituent("first"))) as (here, told):
        here.lifecycle.held_up["first"].clear()
        await here.carry_out(command("first"))
        await here.carry_out(command("model", expires_in_ms=20))
        await here.carry_out(command("sketch"))
        await asyncio.sleep(0.03)
        here.lifecycle.held_up["first"].set()
        await until(lambda: len(told.last(InstanceState.WARM)) == 3)


async def test_room_is_taken_for_a_start_and_its_base_together() -> None:
    async with pool(catalog_of(MODEL, SKETCH, PHOTO, room=3)) as (here, _):
        said = await here.carry_out(command("sketch", count=5))

        assert said == "starts 2 of 5 sketch"
        assert here.utilisation().used == ONE.times(3)


async def test_what_fits_only_without_its_base_is_not_started() -> None:
    async with pool(catalog_of(MODEL, SKETCH, room=1)) as (here, _):
        assert await here.carry_out(command("sketch")) == "starts 0 of 1 sketch"
        with pytest.raises(StandardPathRefused, match="needs more than pool default has"):
            await here.standard(want("sketch"))


async def test_one_base_is_enough() -> None:
    async with pool(catalog_of(MODEL, SKETCH)) as (here, _):
        first = await here.carry_out(command("model", count=2, name="c1"))
        second = await here.carry_out(command("model", name="c2"))

        assert (first, second) == ("starts 1 of 2 model", "keeps model, which runs")


async def test_a_base_is_never_given_to_a_request() -> None:
    async with pool(catalog_of(MODEL, SKETCH)) as (here, told):
        await here.carry_out(command("model"))
        await until(lambda: told.last(InstanceState.WARM))
        with pytest.raises(StandardPathRefused, match="serves no requests") as refused:
            await here.standard(want("model"))

        assert not refused.value.known


async def test_a_base_with_a_start_to_come_is_not_ended() -> None:
    async with pool(catalog_of(MODEL, SKETCH)) as (here, told):
        await here.carry_out(command("model"))
        await until(lambda: told.last(InstanceState.WARM))
        here.lifecycle.held_up["sketch"].clear()
        await here.carry_out(command("sketch"))
        await asyncio.sleep(0.01)

        release = command("model", action=Action.RELEASE)
        assert await here.carry_out(release) == "ends 0 of 1 model"


async def test_room_for_a_start_is_not_made_of_its_own_base() -> None:
    async with pool(catalog_of(MODEL, SKETCH, constituent("other"), room=2)) as (here, told):
        await here.carry_out(command("model"))
        await here.carry_out(command("other"))
        await until(lambda: len(told.last(InstanceState.WARM)) == 2)
        await here.standard(want("sketch"))

        assert live(here) == ["model", "sketch"]


async def test_room_for_another_is_made_of_an_idle_base() -> None:
    async with pool(catalog_of(MODEL, SKETCH, constituent("other"), room=1)) as (here, told):
        await here.carry_out(command("model"))
        await until(lambda: told.last(InstanceState.WARM))
        await here.standard(want("other"))

        assert live(here) == ["other"]


async def test_a_base_that_fails_takes_its_starts_with_it_and_both_pause() -> None:
    async with pool(catalog_of(MODEL, SKETCH)) as (here, told):
        here.lifecycle.failing.add("model")
        with pytest.raises(StandardPathRefused, match="did not start"):
            await here.standard(want("sketch"))

        assert len(told.last(InstanceState.GONE)) == 2
        said = [await here.carry_out(command(name)) for name in ("sketch", "model")]
        assert said == [
            f"is dropped: the last start of {name} failed" for name in ("sketch", "model")
        ]


async def test_others_that_need_a_base_that_failed_pause_too() -> None:
    async with pool(catalog_of(MODEL, SKETCH, PHOTO)) as (here, told):
        here.lifecycle.failing.add("model")
        await here.carry_out(command("sketch"))
        await until(lambda: len(told.last(InstanceState.GONE)) == 2)

        assert (
            await here.carry_out(command("photo")) == "is dropped: the last start of model failed"
        )


async def test_reports_of_gateways_do_not_keep_a_base() -> None:
    limits = replace(QUICK, keep_alive_ms=20, trust_ms=0)
    async with pool(catalog_of(MODEL, SKETCH), limits) as (here, told):
        await here.carry_out(command("model"))
        await until(lambda: told.last(InstanceState.WARM))
        await asyncio.sleep(0.03)
        (base,) = here.instances()
        here.use([InstanceUse(instance_id=base.instance_id, in_flight=0, claimable=True)])
        here.sweep()
        await until(lambda: told.last(InstanceState.GONE), timeout_s=1.0)


async def test_what_an_allocator_commands_is_ended_by_it_alone_until_it_has_been_silent() -> None:
    limits = replace(QUICK, keep_alive_ms=20, trust_ms=200)
    async with pool(catalog_of(constituent("a")), limits) as (here, told):
        await here.carry_out(command("a"))
        await until(lambda: told.last(InstanceState.WARM))
        await asyncio.sleep(0.05)
        here.sweep()
        assert not told.last(InstanceState.DRAINING)
        await asyncio.sleep(0.2)
        here.sweep()
        await until(lambda: told.last(InstanceState.GONE), timeout_s=1.0)


async def test_what_an_allocator_commanded_a_predecessor_is_not_ended_by_its_successor() -> None:
    limits = replace(QUICK, keep_alive_ms=20)
    told = Told()
    async with pool(catalog_of(constituent("a")), limits) as (first, before):
        await first.carry_out(command("a", name="c1"))
        await until(lambda: before.last(InstanceState.WARM))
        here = PoolProvisioner(
            "default", lambda: catalog_of(constituent("a")), told.records.append, limits, Outlived
        )
        await here.open(first.instances())
        await asyncio.sleep(0.05)
        here.sweep()

        assert not told.last(InstanceState.DRAINING)
        assert [one.service for one in here.instances()] == ["a"]
        await here.close()


async def test_what_the_catalogue_has_no_more_is_ended_whatever_an_allocator_commands() -> None:
    catalog = catalog_of(constituent("a"), constituent("b"))
    entries = [one for one in catalog if getattr(one, "service", "") != "a"]
    limits = replace(QUICK, keep_alive_ms=20)
    now = [catalog]
    told = Told()
    here = PoolProvisioner("default", lambda: now[0], told.records.append, limits, Promised)
    await here.open()
    for name in ("a", "b"):
        await here.carry_out(command(name, name=name))
    await until(lambda: len(told.last(InstanceState.WARM)) == 2)
    now[0] = Catalog.of(entries)
    await asyncio.sleep(0.05)
    here.sweep()
    await until(lambda: told.last(InstanceState.GONE), timeout_s=1.0)

    assert live(here) == ["b"]
    await here.close()


async def test_no_instance_gives_way_to_another_of_its_kind() -> None:
    async with pool(catalog_of(constituent("a"), room=1)) as (here, told):
        warm = await here.standard(want("a"))
        await asyncio.sleep(0.01)
        claimed_there = replace(
            want("a"), known=frozenset({warm.instance_id}), deadline_ms=wall_ms() + 100
        )
        with pytest.raises(StandardPathRefused, match="ready in time"):
            await here.standard(claimed_there)
        assert not told.last(InstanceState.DRAINING)


async def test_a_request_of_another_pool_is_refused_with_what_is_to_be_set() -> None:
    async with pool(catalog_of(constituent("a"))) as (here, _):
        with pytest.raises(StandardPathRefused, match="of pool 'default', not of 'other': set"):
            await here.standard(replace(want("a"), pool="other"))


async def test_an_instance_that_does_not_answer_is_given_to_no_request_and_ended() -> None:
    limits = replace(QUICK, claim_ms=20)
    async with pool(catalog_of(constituent("a"), room=2), limits) as (here, told):
        deaf = await here.standard(want("a"))
        here.use([InstanceUse(instance_id=deaf.instance_id, in_flight=0, claimable=False)])
        assert (await here.standard(want("a"))).instance_id != deaf.instance_id
        here.sweep()
        assert len(live(here)) == 2  # it may have crashed, which is heard of a little later
        await asyncio.sleep(0.03)
        here.sweep()
        await until(lambda: told.last(InstanceState.GONE))
        assert [gone.reason for gone in told.last(InstanceState.GONE)] == [
            "did not answer a request"
        ]


async def test_where_nothing_forks_a_base_is_a_constituent_like_any_other() -> None:
    catalog = catalog_of(MODEL, SKETCH, room=3)
    async with pool(catalog, lives=Unlayered) as (here, told):
        assert await here.carry_out(command("model", count=2)) == "starts 2 of 2 model"
        assert await here.carry_out(command("sketch")) == "starts 1 of 1 sketch"
        await until(lambda: len(told.last(InstanceState.WARM)) == 3)


async def test_an_error_that_nobody_foresaw_ends_its_start_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with pool(catalog_of(constituent("a"), constituent("b"))) as (here, told):
        here.lifecycle.broken.add("a")
        with pytest.raises(StandardPathRefused, match="nobody foresaw this"):
            await here.standard(want("a"))
        await here.standard(want("b"))

        assert live(here) == ["b"]
        assert [one.service for one in told.last(InstanceState.GONE)] == ["a"]
    (said,) = [one for one in caplog.records if one.exc_info]
    assert said.getMessage().startswith("The start of a-")


async def test_a_provisioner_says_with_the_next_sweep_that_a_part_of_it_has_failed() -> None:
    async with pool(catalog_of(constituent("a")), lives=Unfit) as (here, _):
        await asyncio.sleep(0.01)

        with pytest.raises(RuntimeError, match="nobody foresaw this"):
            here.sweep()


async def test_an_instance_that_cannot_be_ended_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with pool(catalog_of(constituent("a")), lives=Unfit) as (here, told):
        await here.standard(want("a"))
        await asyncio.sleep(0.005)
        await here.carry_out(command("a", action=Action.RELEASE))
        await until(lambda: told.last(InstanceState.DRAINING))
        await asyncio.sleep(0.05)

    assert "a cannot be ended" in caplog.text
