"""What every provisioner does, as tests for the one that you wrote.

::

    class TestMine(ProvisionerContract):
        house = MyHouse   # a `ProvisionerHouse`: how to make yours, and how to do it harm
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import pytest

from streams.provisioners.core.interface import (
    InstanceRequest,
    InstanceUse,
    Provisioner,
    ProvisionerLimits,
    StandardPathRefused,
)
from streams.records import Action, Command, Instance, InstanceState
from streams.records.catalog import Catalog, Constituent, Pool, Resources
from streams.runtime.clock import wall_ms

__all__ = [
    "ONE",
    "ProvisionerContract",
    "ProvisionerHouse",
    "Told",
    "catalog_of",
    "order",
    "until",
    "want",
]

ONE = Resources(cpu=100, memory=32, bandwidth=1)  # what an instance needs


class Told:
    """What a provisioner published."""

    def __init__(self) -> None:
        self.records: list[Instance] = []

    def states(self, instance_id: str) -> list[InstanceState]:
        """The states that an instance was in, in order."""
        return [one.state for one in self.records if one.instance_id == instance_id]

    def last(self, *states: InstanceState) -> list[Instance]:
        """The last record of each instance that is in one of these states."""
        newest = {one.instance_id: one for one in self.records}
        return [one for one in newest.values() if one.state in states]


async def until(check: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until something is true; TimeoutError if it is not in time."""
    async with asyncio.timeout(timeout_s):
        while not check():  # noqa: ASYNC110  # what is checked knows of no event
            await asyncio.sleep(0.01)


def want(service: str, request_id: str = "r1", *, in_ms: int = 10_000) -> InstanceRequest:
    """A request that waits so long for an instance."""
    return InstanceRequest(service=service, request_id=request_id, deadline_ms=wall_ms() + in_ms)


def order(
    service: str,
    *,
    action: Action = Action.PROVISION,
    count: int = 1,
    name: str = "",
    pool: str = "default",
    expires_in_ms: int = 60_000,
) -> Command:
    """A command of now."""
    now_ms = wall_ms()
    return Command(
        command_id=name or f"{action}-{service}-{count}-{now_ms}",
        pool=pool,
        action=action,
        service=service,
        count=count,
        value=1.0,
        cost=0.1,
        priority=1.0,
        issued_ms=now_ms,
        expires_ms=now_ms + expires_in_ms,
        reason="a test wants it",
    )


def catalog_of(*constituents: Constituent, room: int = 4) -> Catalog:
    """These constituents, and a pool for `room` instances."""
    return Catalog.of([*constituents, Pool(pool="default", capacity=ONE.times(room))])


class ProvisionerHouse(ABC):
    """A place with room for instances, in which provisioners live one after the other."""

    limits = ProvisionerLimits(grace_ms=20, claim_ms=1_000, stop_ms=2_000, start_ms=10_000)

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.told = Told()  # stands for the topic: it outlives a provisioner
        self.now: Provisioner

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.now.close()

    @abstractmethod
    def make(self) -> Provisioner:
        """A provisioner of the pool "default" that is not open yet, and tells `told`."""

    @abstractmethod
    async def crash(self, instance: Instance) -> None:
        """End an instance behind its provisioner's back."""

    @abstractmethod
    async def die(self) -> None:
        """End the provisioner without a word, and what would die with it."""

    @abstractmethod
    def running(self) -> int:
        """How many instances really run or are about to."""

    @classmethod
    @abstractmethod
    def quick(cls, name: str, *, concurrency: int = 1) -> Constituent:
        """A constituent that needs `ONE` and starts in about a tenth of a second."""

    @classmethod
    @abstractmethod
    def slow(cls, name: str) -> Constituent:
        """A constituent that needs `ONE` and takes about a second to start."""

    def serving(self) -> Sequence[Instance]:
        """The instances that requests may have, or will."""
        return [one for one in self.now.instances() if one.service not in self.catalog.bases]

    async def open(self) -> Provisioner:
        """Start a provisioner that knows what its predecessors published."""
        self.now = self.make()
        alive = set(InstanceState) - {InstanceState.GONE}
        await self.now.open(self.told.last(*alive))
        return self.now

    async def warm(self, count: int = 1) -> Sequence[Instance]:
        """So many warm instances, when they are."""
        await until(lambda: len(self.told.last(InstanceState.WARM)) == count)
        return self.told.last(InstanceState.WARM)

    def tell(self, instance: Instance) -> None:
        """Publish; what bases tell is no test's here."""
        if instance.service not in self.catalog.bases:
            self.told.records.append(instance)


@pytest.mark.asyncio
class ProvisionerContract:
    """The tests; a class of yours that has `house` inherits them."""

    house: ClassVar[type[ProvisionerHouse]]

    async def test_an_instance_starts_is_used_drains_and_ends(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            await provisioner.carry_out(order("a", name="c1"))
            (instance,) = await here.warm()
            provisioner.use([InstanceUse(instance_id=instance.instance_id, in_flight=1)])
            provisioner.sweep()
            provisioner.use(
                [InstanceUse(instance_id=instance.instance_id, in_flight=0, uses=1, busy_ms=7)]
            )
            provisioner.sweep()
            await asyncio.sleep(here.limits.grace_ms / 1000)
            await provisioner.carry_out(order("a", action=Action.RELEASE, name="c2"))
            await until(lambda: here.told.last(InstanceState.GONE))
            await until(lambda: here.running() == 0)

            states = here.told.states(instance.instance_id)
            assert states == ["starting", "warm", "busy", "warm", "draining", "gone"]
            (gone,) = here.told.last(InstanceState.GONE)
            assert (gone.uses, gone.busy_ms, gone.command_id) == (1, 7, "c1")
            assert gone.reason == "released: a test wants it"
            assert gone.warm_since_ms == instance.warm_since_ms
            assert instance.endpoint.startswith("http://")

    async def test_a_busy_instance_is_not_released(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            busy = await provisioner.standard(want("a"))
            provisioner.use([InstanceUse(instance_id=busy.instance_id, in_flight=1)])
            await asyncio.sleep(here.limits.grace_ms / 1000)

            said = await provisioner.carry_out(order("a", action=Action.RELEASE))

            assert said == "ends 0 of 1 a"

    async def test_an_instance_ends_once_nobody_may_claim_it_any_more(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            await provisioner.carry_out(order("a", name="c1"))
            (instance,) = await here.warm()
            name = instance.instance_id
            provisioner.use([InstanceUse(instance_id=name, in_flight=0, claimable=True)])
            await asyncio.sleep(here.limits.grace_ms / 1000)
            await provisioner.carry_out(order("a", action=Action.RELEASE, name="c2"))
            await asyncio.sleep(5 * here.limits.grace_ms / 1000)

            # It was claimed just before its claimer heard that it drains.
            assert here.running() == 1
            provisioner.use([InstanceUse(instance_id=name, in_flight=1, claimable=False)])
            await asyncio.sleep(5 * here.limits.grace_ms / 1000)
            assert here.running() == 1
            provisioner.use([InstanceUse(instance_id=name, in_flight=0, uses=1, claimable=False)])
            await until(lambda: here.told.last(InstanceState.GONE), timeout_s=1.0)

    async def test_a_claimer_that_says_nothing_holds_no_instance_up(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            await provisioner.carry_out(order("a", name="c1"))
            (instance,) = await here.warm()
            provisioner.use(
                [InstanceUse(instance_id=instance.instance_id, in_flight=0, claimable=True)]
            )
            await asyncio.sleep(here.limits.grace_ms / 1000)
            await provisioner.carry_out(order("a", action=Action.RELEASE, name="c2"))
            await until(lambda: here.told.last(InstanceState.GONE))

    async def test_a_crash_is_told_within_a_second(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            instance = await provisioner.standard(want("a"))
            await here.crash(instance)
            await until(lambda: here.told.last(InstanceState.GONE), timeout_s=1.0)

            assert here.told.last(InstanceState.GONE)[0].reason.startswith("crashed: ")
            assert here.serving() == []
            await until(lambda: here.running() == 0)

    async def test_no_more_is_started_than_the_pool_holds(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"), room=2)) as here:
            provisioner = await here.open()

            assert await provisioner.carry_out(order("a", count=5)) == "starts 2 of 5 a"
            await here.warm(2)
            assert here.running() == 2

    async def test_an_idle_instance_gives_way_to_a_request(self) -> None:
        async with self.house(
            catalog_of(self.house.quick("a"), self.house.quick("b"), room=1)
        ) as here:
            provisioner = await here.open()
            await provisioner.carry_out(order("a"))
            await here.warm()

            assert (await provisioner.standard(want("b"))).service == "b"
            assert here.told.last(InstanceState.GONE)[0].reason == "gave way to a request"
            await until(lambda: here.running() == 1)

    async def test_a_slow_start_outlives_the_request_that_gave_up(self) -> None:
        slow = self.house.slow("slow")
        async with self.house(catalog_of(slow)) as here:
            provisioner = await here.open()
            with pytest.raises(StandardPathRefused, match="in time"):
                await provisioner.standard(want("slow", "impatient", in_ms=100))

            served = await provisioner.standard(want("slow", "patient"))

            assert served.command_id == "standard/impatient"

    async def test_a_restart_in_mid_start_leaves_what_was_commanded_and_no_more(self) -> None:
        slow = self.house.slow("slow")
        async with self.house(catalog_of(slow)) as here:
            provisioner = await here.open()
            start = order("slow", count=2, name="c1")
            await provisioner.carry_out(start)
            await until(lambda: len(here.told.last(InstanceState.STARTING)) == 2)
            await here.die()

            again = await here.open()
            await again.carry_out(start)

            await here.warm(2)
            assert here.running() == 2
            assert len(here.serving()) == 2
            assert not here.told.last(InstanceState.STARTING)

    async def test_a_command_that_comes_twice_is_done_once(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            first = await provisioner.carry_out(order("a", name="same"))
            second = await provisioner.carry_out(order("a", name="same"))

            assert (first, second) == ("starts 1 of 1 a", "was carried out before")
            await here.warm()
            assert here.running() == 1

    async def test_commands_out_of_order_are_each_done_once(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            start, end = order("a", name="c1"), order("a", action=Action.RELEASE, name="c2")
            said = [await provisioner.carry_out(one) for one in (end, start, end, start)]

            assert said[:2] == ["ends 0 of 1 a", "starts 1 of 1 a"]
            assert said[2:] == ["was carried out before"] * 2
            await here.warm()

    async def test_an_expired_command_is_refused(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            said = await provisioner.carry_out(order("a", expires_in_ms=-5_000))

            assert said.startswith("expired 5")
            assert here.serving() == []

    async def test_an_unknown_service_starts_nothing_and_is_named(self) -> None:
        async with self.house(catalog_of(self.house.quick("a"))) as here:
            provisioner = await here.open()
            said = await provisioner.carry_out(order("nobody"))
            with pytest.raises(StandardPathRefused, match="nobody is not in the catalogue"):
                await provisioner.standard(want("nobody"))

            assert said == "names a constituent that is not in the catalogue: nobody"
            assert here.running() == 0

    async def test_two_requests_share_a_start_where_concurrency_permits(self) -> None:
        async with self.house(catalog_of(self.house.quick("shared", concurrency=2))) as here:
            provisioner = await here.open()
            asked = (provisioner.standard(want("shared", f"r{n}")) for n in range(3))

            assert len({one.instance_id for one in await asyncio.gather(*asked)}) == 2
