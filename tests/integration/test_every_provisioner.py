"""What every provisioner does, wherever its instances run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from kube import KubernetesHouse
from provisioner_rigs import House, LayeredHouse, LocalHouse, until, want
from services import catalog_of, command, constituent

from streams.provisioners.core.interface import InstanceUse, StandardPathRefused
from streams.records import Action, InstanceState
from streams.records.catalog import Catalog

Build = Callable[[Catalog], House]


@pytest.fixture(
    params=[LocalHouse, LayeredHouse, KubernetesHouse], ids=["local", "layered", "kubernetes"]
)
def house(request: pytest.FixtureRequest) -> Build:
    """Where instances run, of a catalogue."""
    made: Build = request.param
    return made


async def test_an_instance_starts_is_used_drains_and_ends(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a", name="c1"))
        (instance,) = await here.warm()
        provisioner.use([InstanceUse(instance_id=instance.instance_id, in_flight=1)])
        provisioner.sweep()
        provisioner.use(
            [InstanceUse(instance_id=instance.instance_id, in_flight=0, uses=1, busy_ms=7)]
        )
        provisioner.sweep()
        await asyncio.sleep(here.limits.grace_ms / 1000)
        await provisioner.carry_out(command("a", action=Action.RELEASE, name="c2"))
        await until(lambda: here.told.last(InstanceState.GONE))
        await until(lambda: here.running() == 0)

        states = here.told.states(instance.instance_id)
        assert states == ["starting", "warm", "busy", "warm", "draining", "gone"]
        (gone,) = here.told.last(InstanceState.GONE)
        assert (gone.uses, gone.busy_ms, gone.command_id) == (1, 7, "c1")
        assert gone.reason == "released: a test wants it"
        assert gone.warm_since_ms == instance.warm_since_ms
        assert instance.endpoint.startswith("http://")


async def test_a_busy_instance_is_not_released(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        busy = await provisioner.standard(want("a"))
        provisioner.use([InstanceUse(instance_id=busy.instance_id, in_flight=1)])
        await asyncio.sleep(here.limits.grace_ms / 1000)

        said = await provisioner.carry_out(command("a", action=Action.RELEASE))

        assert said == "ends 0 of 1 a"


async def test_an_instance_ends_once_nobody_may_claim_it_any_more(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a", name="c1"))
        (instance,) = await here.warm()
        name = instance.instance_id
        provisioner.use([InstanceUse(instance_id=name, in_flight=0, claimable=True)])
        await asyncio.sleep(here.limits.grace_ms / 1000)
        await provisioner.carry_out(command("a", action=Action.RELEASE, name="c2"))
        await asyncio.sleep(5 * here.limits.grace_ms / 1000)

        # It was claimed just before its claimer heard that it drains.
        assert here.running() == 1
        provisioner.use([InstanceUse(instance_id=name, in_flight=1, claimable=False)])
        await asyncio.sleep(5 * here.limits.grace_ms / 1000)
        assert here.running() == 1
        provisioner.use([InstanceUse(instance_id=name, in_flight=0, uses=1, claimable=False)])
        await until(lambda: here.told.last(InstanceState.GONE), timeout_s=1.0)


async def test_a_claimer_that_says_nothing_holds_no_instance_up(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a", name="c1"))
        (instance,) = await here.warm()
        provisioner.use(
            [InstanceUse(instance_id=instance.instance_id, in_flight=0, claimable=True)]
        )
        await asyncio.sleep(here.limits.grace_ms / 1000)
        await provisioner.carry_out(command("a", action=Action.RELEASE, name="c2"))
        await until(lambda: here.told.last(InstanceState.GONE))


async def test_a_crash_is_told_within_a_second(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        instance = await provisioner.standard(want("a"))
        await here.crash(instance)
        await until(lambda: here.told.last(InstanceState.GONE), timeout_s=1.0)

        assert here.told.last(InstanceState.GONE)[0].reason.startswith("crashed: ")
        assert here.serving() == []
        await until(lambda: here.running() == 0)


async def test_no_more_is_started_than_the_pool_holds(house: Build) -> None:
    async with house(catalog_of(constituent("a"), room=2)) as here:
        provisioner = await here.open()

        assert await provisioner.carry_out(command("a", count=5)) == "starts 2 of 5 a"
        await here.warm(2)
        assert here.running() == 2


async def test_an_idle_instance_gives_way_to_a_request(house: Build) -> None:
    async with house(catalog_of(constituent("a"), constituent("b"), room=1)) as here:
        provisioner = await here.open()
        await provisioner.carry_out(command("a"))
        await here.warm()

        assert (await provisioner.standard(want("b"))).service == "b"
        assert here.told.last(InstanceState.GONE)[0].reason == "gave way to a request"
        await until(lambda: here.running() == 1)


async def test_a_slow_start_outlives_the_request_that_gave_up(house: Build) -> None:
    slow = house.slow("slow")  # type: ignore[attr-defined]  # the class is the builder
    async with house(catalog_of(slow)) as here:
        provisioner = await here.open()
        with pytest.raises(StandardPathRefused, match="in time"):
            await provisioner.standard(want("slow", "impatient", in_ms=100))

        served = await provisioner.standard(want("slow", "patient"))

        assert served.command_id == "standard/impatient"


async def test_a_restart_in_mid_start_leaves_what_was_commanded_and_no_more(house: Build) -> None:
    slow = house.slow("slow")  # type: ignore[attr-defined]  # the class is the builder
    async with house(catalog_of(slow)) as here:
        provisioner = await here.open()
        order = command("slow", count=2, name="c1")
        await provisioner.carry_out(order)
        await until(lambda: len(here.told.last(InstanceState.STARTING)) == 2)
        await here.die()

        again = await here.open()
        await again.carry_out(order)

        await here.warm(2)
        assert here.running() == 2
        assert len(here.serving()) == 2
        assert not here.told.last(InstanceState.STARTING)


async def test_a_command_that_comes_twice_is_done_once(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        first = await provisioner.carry_out(command("a", name="same"))
        second = await provisioner.carry_out(command("a", name="same"))

        assert (first, second) == ("starts 1 of 1 a", "was carried out before")
        await here.warm()
        assert here.running() == 1


async def test_commands_out_of_order_are_each_done_once(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        start, end = command("a", name="c1"), command("a", action=Action.RELEASE, name="c2")
        said = [await provisioner.carry_out(one) for one in (end, start, end, start)]

        assert said[:2] == ["ends 0 of 1 a", "starts 1 of 1 a"]
        assert said[2:] == ["was carried out before"] * 2
        await here.warm()


async def test_an_expired_command_is_refused(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        said = await provisioner.carry_out(command("a", expires_in_ms=-5_000))

        assert said.startswith("expired 5")
        assert here.serving() == []


async def test_an_unknown_service_starts_nothing_and_is_named(house: Build) -> None:
    async with house(catalog_of(constituent("a"))) as here:
        provisioner = await here.open()
        said = await provisioner.carry_out(command("nobody"))
        with pytest.raises(StandardPathRefused, match="nobody is not in the catalogue"):
            await provisioner.standard(want("nobody"))

        assert said == "names a constituent that is not in the catalogue: nobody"
        assert here.running() == 0


async def test_two_requests_share_a_start_where_concurrency_permits(house: Build) -> None:
    async with house(catalog_of(constituent("shared", concurrency=2))) as here:
        provisioner = await here.open()
        asked = (provisioner.standard(want("shared", f"r{n}")) for n in range(3))

        assert len({one.instance_id for one in await asyncio.gather(*asked)}) == 2
