"""Instances that are forked from a base: real processes, and the harm that may come to them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from harness import CHECKOUT, Eventually
from provisioner_rigs import Told, local_provisioner, until, want
from services import ONE, SERVICE, catalog_of, command, constituent

from streams.provisioners.core.interface import ProvisionerLimits, StandardPathRefused
from streams.provisioners.local.adopted_process import AdoptedProcess
from streams.provisioners.local.provisioner import LocalProvisioner
from streams.records import Action, Instance, InstanceState
from streams.records.catalog import Catalog, Constituent

LAYERED = CHECKOUT / "tests" / "layered"
QUICK = ProvisionerLimits(starts=1, grace_ms=20, stop_ms=300, start_ms=10_000)
DRAW = str(LAYERED / "draw.py")


def base_of(modules: str) -> Constituent:
    base = replace(constituent("model"), needs=replace(ONE, memory=96))
    return replace(base, command=("{python}", "{zygote}", "--import", modules))


def layered(name: str, *command: str) -> Constituent:
    return replace(constituent(name), base="model", command=("{python}", *command))


SKETCH = layered("sketch", "-X", "utf8", DRAW, "--child")
PLAIN = layered("plain", "-S", "-I", SERVICE)
CATALOG = catalog_of(base_of("weights"), SKETCH, layered("photo", DRAW), room=8)


@pytest.fixture(autouse=True)
def _module_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a base finds what it imports."""
    monkeypatch.setenv("PYTHONPATH", str(LAYERED))


def provisioner(
    catalog: Catalog = CATALOG, limits: ProvisionerLimits = QUICK
) -> AbstractAsyncContextManager[tuple[LocalProvisioner, Told]]:
    return local_provisioner(catalog, limits)


async def seen_by(instance: Instance) -> dict[str, Any]:
    """What an instance says of itself."""
    async with aiohttp.ClientSession() as session, session.get(instance.endpoint) as answer:
        found: dict[str, Any] = await answer.json(content_type=None)
        return found


async def zygote_of(local: LocalProvisioner, told: Told) -> int:
    """The process of the base, warm alone."""
    await local.carry_out(command("model"))
    await until(lambda: told.last(InstanceState.WARM))
    ((base, child),) = local.lifecycle.children.items()
    assert base.is_base
    return child.pid


def below(pid: int | None = None) -> Sequence[int]:
    return [one.pid for one in psutil.Process(pid).children(recursive=True)]


async def test_an_instance_has_what_its_base_has_loaded_and_is_a_child_of_the_provisioner() -> None:
    async with provisioner() as (local, told):
        zygote = await zygote_of(local, told)
        seen = await seen_by(await local.standard(want("sketch")))

        assert seen["loaded_by"] == zygote != seen["pid"]
        assert seen["parent"] == os.getpid()
        assert (seen["arguments"], seen["main"]) == (["--child"], DRAW)


async def test_it_is_the_program_that_it_is_without_a_base() -> None:
    alone = Catalog.of([*CATALOG, replace(SKETCH, base="")])
    async with provisioner() as (local, _), provisioner(alone) as (plain, _):
        forked = await seen_by(await local.standard(want("sketch")))
        spawned = await seen_by(await plain.standard(want("sketch")))

        same = {"parent", "arguments", "main", "threads"}
        assert {x: forked[x] for x in same} == {x: spawned[x] for x in same}


async def test_a_warm_base_shortens_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    alone = Catalog.of([*CATALOG, replace(SKETCH, base="")])
    took = []
    for catalog in (alone, CATALOG):
        async with provisioner(catalog) as (local, told):
            if catalog is CATALOG:
                await zygote_of(local, told)
            instance = await local.standard(want("sketch"))
            assert instance.warm_since_ms is not None
            took.append(instance.warm_since_ms - instance.started_ms)
    with capsys.disabled():
        print(f"\nstart-up alone {took[0]} ms, from a warm base {took[1]} ms")  # noqa: T201

    assert took[0] >= 500  # for what it loads
    assert took[1] < took[0]


async def test_a_start_is_measured_from_when_its_base_was_ready() -> None:
    async with provisioner() as (local, told):
        instance = await local.standard(want("sketch"))
        (base,) = [one for one in told.last(InstanceState.WARM) if one.service == "model"]

        assert base.warm_since_ms is not None
        assert base.warm_since_ms - base.started_ms >= 500
        assert base.warm_since_ms <= instance.started_ms


async def test_an_instance_survives_the_release_of_its_base_and_not_its_provisioner() -> None:
    async with provisioner() as (local, told):
        await zygote_of(local, told)
        instance = await local.standard(want("sketch"))
        await asyncio.sleep(QUICK.grace_ms / 1000)
        await local.carry_out(command("model", action=Action.RELEASE))
        await until(lambda: told.last(InstanceState.GONE))
        seen = await seen_by(instance)
        (gone,) = told.last(InstanceState.GONE)

        assert (gone.service, gone.uses) == ("model", 1)
    assert not psutil.pid_exists(seen["pid"])


async def test_two_at_once_share_one_base_and_draw_numbers_of_their_own() -> None:
    catalog = Catalog.of([*CATALOG, base_of("weights,numpy.random")])
    async with provisioner(catalog) as (local, _):
        asked = [local.standard(want(name, name)) for name in ("sketch", "photo")]
        sketch, photo = [await seen_by(one) for one in await asyncio.gather(*asked)]

        assert sketch["loaded_by"] == photo["loaded_by"]
        assert sketch["drawn"] != photo["drawn"] != 0.0


async def test_the_end_of_a_forked_instance_is_told_with_its_last_words() -> None:
    failing = layered("failing", "-S", "-I", SERVICE, "--fail", "3")
    async with provisioner(catalog_of(base_of(""), failing)) as (local, _):
        with pytest.raises(StandardPathRefused, match="exited with code 3: not today"):
            await local.standard(want("failing"))


async def test_a_forked_instance_that_crashes_is_told_within_a_second() -> None:
    async with provisioner() as (local, told):
        seen = await seen_by(await local.standard(want("sketch")))
        os.kill(seen["pid"], signal.SIGSEGV)
        await until(lambda: told.last(InstanceState.GONE), timeout_s=1.0)

        assert told.last(InstanceState.GONE)[0].reason == "crashed: was killed by signal 11"


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        ("nothing_such", "exited with code 1: ModuleNotFoundError: No module named 'nothing_such'"),
        ("threaded", "may have one thread only; an import started housekeeper"),
    ],
)
async def test_a_base_that_does_not_start_is_told_with_its_last_words(
    modules: str, why: str
) -> None:
    async with provisioner(Catalog.of([*CATALOG, base_of(modules)])) as (local, told):
        with pytest.raises(StandardPathRefused, match=why):
            await local.standard(want("sketch"))

        assert {one.service for one in told.last(InstanceState.GONE)} == {"model", "sketch"}


async def test_a_base_that_is_no_zygote_is_told() -> None:
    wrong = replace(constituent("model"), command=("/bin/echo", "hello"))
    async with provisioner(Catalog.of([*CATALOG, wrong])) as (local, _):
        with pytest.raises(
            StandardPathRefused, match="its base model: crashed: exited with code 0"
        ):
            await local.standard(want("sketch"))


async def test_what_its_base_cannot_run_is_refused_and_the_base_forks_on() -> None:
    other = replace(layered("other"), command=("/bin/sh", "-c", "exit"))
    async with provisioner(Catalog.of([*CATALOG, other])) as (local, _):
        with pytest.raises(StandardPathRefused, match="/bin/sh is not the interpreter of its base"):
            await local.standard(want("other"))
        await local.standard(want("sketch"))

        assert sorted(x.service for x in local.instances()) == ["model", "sketch"]


async def test_a_base_killed_in_mid_fork_fails_the_start_and_the_next_has_a_new_one() -> None:
    async with provisioner() as (local, told):
        zygote = await zygote_of(local, told)
        os.kill(zygote, signal.SIGSTOP)
        asked = asyncio.create_task(local.standard(want("sketch")))
        await asyncio.sleep(0.1)
        os.kill(zygote, signal.SIGKILL)
        with pytest.raises(StandardPathRefused, match="its base ended"):
            await asked

        assert "the last start of sketch failed" in await local.carry_out(command("sketch"))
        seen = await seen_by(await local.standard(want("sketch")))
        assert seen["loaded_by"] != zygote


async def test_a_base_that_does_not_answer_is_ended_and_the_next_start_has_a_new_one() -> None:
    async with provisioner(limits=replace(QUICK, start_ms=6_000)) as (local, told):
        zygote = await zygote_of(local, told)
        os.kill(zygote, signal.SIGSTOP)
        with pytest.raises(StandardPathRefused, match="was not forked within"):
            await local.standard(want("sketch"))
        seen = await seen_by(await local.standard(want("sketch")))

        assert seen["loaded_by"] != zygote
        await until(lambda: not psutil.pid_exists(zygote))


@pytest.mark.parametrize("harm", ["closed", "killed"])
@pytest.mark.parametrize("after_ms", [0, 1, 2, 3, 5, 8])
async def test_no_instant_of_a_fork_leaves_a_process_when_harm_is_done(
    harm: str, after_ms: int
) -> None:
    before = set(below())
    async with provisioner(catalog_of(base_of(""), PLAIN)) as (local, told):
        zygote = await zygote_of(local, told)
        asked = asyncio.create_task(local.standard(want("plain")))
        await asyncio.sleep(after_ms / 1000)
        if harm == "killed":
            os.kill(zygote, signal.SIGKILL)
            await asyncio.wait([asked])
    await asyncio.wait([asked])

    assert isinstance(asked.exception(), StandardPathRefused | None)
    await until(lambda: set(below()) <= before)


async def test_a_fork_that_was_reaped_with_the_group_of_its_base_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)  # noqa: ASYNC220
    adopted = AdoptedProcess(process.pid)
    process.kill()
    process.communicate()

    async with asyncio.timeout(10):
        assert await adopted.wait() == -signal.SIGKILL


async def test_many_starts_at_once_each_have_their_own_process() -> None:
    limits = replace(QUICK, starts=4)
    async with provisioner(limits=limits) as (local, told):
        await local.carry_out(command("sketch", count=5))
        await until(lambda: len(told.last(InstanceState.WARM)) == 6)
        seen = [await seen_by(x) for x in told.last(InstanceState.WARM) if x.endpoint]

        assert len({one["pid"] for one in seen}) == 5


async def test_shared_memory_counts_once() -> None:
    async with provisioner() as (local, told):
        await local.carry_out(command("photo", count=4))
        await until(lambda: len(told.last(InstanceState.WARM)) == 5)
        with_base = local.utilisation().used.memory
        await asyncio.sleep(QUICK.grace_ms / 1000)
        await local.carry_out(command("model", action=Action.RELEASE))
        await until(lambda: told.last(InstanceState.GONE))
        without = local.utilisation().used.memory

        assert 96 + 4 * 32 <= with_base < 96 + 4 * 48
        assert 4 * 32 <= without < 96 + 4 * 48


def test_nothing_survives_a_provisioner_that_is_killed(eventually: Eventually) -> None:
    paths = (LAYERED.parent, LAYERED.parent / "integration", LAYERED, CHECKOUT)
    with subprocess.Popen(
        [sys.executable, str(LAYERED / "hold.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        stdout=subprocess.PIPE,
        text=True,
    ) as holding:
        assert holding.stdout is not None
        pids = [int(pid) for pid in holding.stdout.readline().split()]
        holding.kill()

        assert len(pids) == 8  # the watchdog, the base, three instances with a child each
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 5.0)
