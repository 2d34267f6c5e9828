from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from provisioner_rigs import Told, local_provisioner, until, want
from services import ONE, catalog_of, command, constituent

from streams.provisioners.core.interface import InstanceUse, ProvisionerLimits, StandardPathRefused
from streams.provisioners.local.child_process import InstanceProcess
from streams.provisioners.local.provisioner import LocalProvisioner
from streams.records import InstanceState
from streams.records.catalog import Catalog

QUICK = ProvisionerLimits(grace_ms=20, stop_ms=2_000, start_ms=10_000)


def provisioner(
    catalog: Catalog, limits: ProvisionerLimits = QUICK
) -> AbstractAsyncContextManager[tuple[LocalProvisioner, Told]]:
    return local_provisioner(catalog, limits)


@contextmanager
def no_more_files() -> Iterator[None]:
    """Have this process open no more files than it has now."""
    with Path(os.devnull).open() as lowest:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno(), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_an_instance_is_warm_only_once_it_has_answered() -> None:
    slow = constituent("slow", "--work-at-start", "10000000")
    async with provisioner(catalog_of(slow)) as (local, _):
        instance = await local.standard(want("slow"))

        assert instance.warm_since_ms is not None
        assert instance.warm_since_ms - instance.started_ms > 100
        async with aiohttp.ClientSession() as session, session.get(instance.endpoint) as answer:
            assert answer.status == 200


async def test_an_instance_is_warm_only_once_its_warm_up_request_was_served(
    tmp_path: Path,
) -> None:
    served = tmp_path / "served"
    cold = constituent("cold", "--count", str(served))
    warmed = replace(cold, warm_up="/price", warm_up_body='{"item": 1}')
    async with provisioner(catalog_of(warmed)) as (local, _):
        await local.standard(want("cold"))

        assert served.read_text() == "."


async def test_an_instance_whose_warm_up_request_fails_does_not_become_warm() -> None:
    failing = constituent("failing", "--answer", "500 No")
    warmed = replace(failing, warm_up="/price", warm_up_body="{}")
    async with provisioner(catalog_of(warmed)) as (local, told):
        with pytest.raises(
            StandardPathRefused, match="answered its warm-up request /price with 500"
        ):
            await local.standard(want("failing"))
        await until(lambda: told.last(InstanceState.GONE))

        states = told.states(told.records[0].instance_id)
        assert "warm" not in states


async def test_a_start_has_one_limit_for_its_health_and_its_warm_up_together() -> None:
    slow = constituent("slow", "--wait", "2")
    warmed = replace(slow, warm_up="/price", warm_up_body="{}")
    async with provisioner(catalog_of(warmed), replace(QUICK, start_ms=3_000)) as (local, _):
        with pytest.raises(StandardPathRefused, match="its warm-up request /price: nothing within"):
            await local.standard(want("slow"))


async def test_what_another_server_says_is_no_health_of_an_instance() -> None:
    async def well(_: web.BaseRequest) -> web.Response:
        return web.Response()

    async with RawTestServer(well) as other:
        moved = constituent("moved", "--health", f"302 Found\r\nlocation: {other.make_url('/')}")
        async with provisioner(catalog_of(moved), replace(QUICK, start_ms=1_000)) as (local, _):
            with pytest.raises(StandardPathRefused, match="did not answer /healthz"):
                await local.standard(want("moved"))


async def test_a_health_check_has_no_longer_than_what_is_left_of_the_limit() -> None:
    ill = constituent("ill", "--wait", "0.8", "--health", "503 No")
    async with provisioner(catalog_of(ill), replace(QUICK, start_ms=1_000)) as (local, _):
        began = time.monotonic()
        with pytest.raises(
            StandardPathRefused, match=r"did not answer /healthz within (0\.\d|1) s"
        ):
            await local.standard(want("ill"))

        assert time.monotonic() - began < 1.4


async def test_a_crash_is_reported_within_a_second_with_its_exit_code() -> None:
    async with provisioner(catalog_of(constituent("a"))) as (local, told):
        await local.standard(want("a"))
        (child,) = local.lifecycle.children.values()
        os.kill(child.pid, signal.SIGSEGV)
        await until(lambda: told.last(InstanceState.GONE), timeout_s=1.0)

    assert told.last(InstanceState.GONE)[0].reason == "crashed: was killed by signal 11"


async def test_a_start_that_fails_refuses_the_request_and_says_why() -> None:
    catalog = catalog_of(constituent("broken", "--fail", "3"))
    async with provisioner(catalog) as (local, told):
        with pytest.raises(StandardPathRefused, match="exited with code 3: not today"):
            await local.standard(want("broken"))

        assert "exited with code 3" in told.last(InstanceState.GONE)[0].reason
        assert "the last start" in await local.carry_out(command("broken"))


@pytest.mark.parametrize(
    ("word", "why"), [("/does/not/exist", "No such file"), ("a\0b", "embedded null byte")]
)
async def test_a_command_that_cannot_be_executed_is_reported(word: str, why: str) -> None:
    bare = replace(constituent("bare"), command=(word,))
    async with provisioner(catalog_of(bare)) as (local, told):
        await local.carry_out(command("bare"))
        await until(lambda: told.last(InstanceState.GONE))

    assert why in told.last(InstanceState.GONE)[0].reason


async def test_a_start_fails_while_no_file_can_be_opened_and_the_next_does_not() -> None:
    limits = replace(QUICK, starts=1, backoff_ms=0)
    async with provisioner(catalog_of(constituent("a")), limits) as (local, _):
        with (
            no_more_files(),
            pytest.raises(StandardPathRefused, match="cannot be started: Too many open files"),
        ):
            await local.standard(want("a"))

        assert (await local.standard(want("a"))).state is InstanceState.WARM
        assert len(local.instances()) == 1


async def test_an_error_that_nobody_foresaw_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ready(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    async with provisioner(catalog_of(constituent("a"))) as (local, told):
        monkeypatch.setattr(InstanceProcess, "ready", ready)
        with pytest.raises(StandardPathRefused, match="nobody foresaw this"):
            await local.standard(want("a"))

        assert len(told.last(InstanceState.GONE)) == 1
        assert not local.instances()
        assert not local.lifecycle.children


@pytest.mark.parametrize("scarce", ["cpu", "memory", "bandwidth"])
async def test_no_more_is_started_than_the_pool_holds(scarce: str) -> None:
    plenty = constituent("a")
    one = replace(plenty, needs=replace(ONE, **{scarce: getattr(ONE, scarce) * 2}))
    async with provisioner(catalog_of(one, room=4)) as (local, _):
        said = await local.carry_out(command("a", count=5))

        assert said == "starts 2 of 5 a"


async def test_a_busy_instance_does_not_give_way() -> None:
    catalog = catalog_of(constituent("a"), constituent("b"), room=1)
    async with provisioner(catalog) as (local, _):
        busy = await local.standard(want("a"))
        local.use([InstanceUse(instance_id=busy.instance_id, in_flight=1)])
        with pytest.raises(StandardPathRefused, match="in time"):
            await local.standard(want("b", in_ms=400))

        assert [one.instance_id for one in local.instances()] == [busy.instance_id]


async def test_a_request_joins_the_start_that_a_command_has_begun() -> None:
    async with provisioner(catalog_of(constituent("a"))) as (local, _):
        await local.carry_out(command("a", name="early"))

        assert (await local.standard(want("a"))).command_id == "early"


async def test_an_idle_instance_ends_when_nobody_renews_it() -> None:
    limits = replace(QUICK, keep_alive_ms=200)
    async with provisioner(catalog_of(constituent("a")), limits) as (local, told):
        await local.standard(want("a"))
        await asyncio.sleep(0.25)
        local.sweep()
        await until(lambda: told.last(InstanceState.GONE))

    assert told.last(InstanceState.GONE)[0].reason.startswith("idle for 0.")


async def test_utilisation_is_what_is_reserved_or_more() -> None:
    fat = replace(constituent("fat", "--mib", "64"), needs=replace(ONE, memory=10))
    async with provisioner(catalog_of(fat)) as (local, _):
        await local.standard(want("fat"))
        seen = local.utilisation()

        assert seen.used.cpu >= ONE.cpu
        assert seen.used.memory > 64
        assert seen.capacity == ONE.times(4)


async def test_closing_leaves_no_process() -> None:
    async with provisioner(catalog_of(constituent("a"))) as (local, told):
        await local.carry_out(command("a", count=3))
        await until(lambda: len(told.last(InstanceState.WARM)) == 3)
        pids = [child.pid for child in local.lifecycle.children.values()]

    assert len(pids) == 3
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert len(told.last(InstanceState.GONE)) == 3


async def test_closing_does_not_wait_for_the_requests_of_an_instance_that_it_has_ended() -> None:
    limits, catalog = replace(QUICK, report_ms=600_000), catalog_of(constituent("a"))
    async with asyncio.timeout(60), provisioner(catalog, limits) as (local, told):
        busy = await local.standard(want("a"))
        local.use([InstanceUse(instance_id=busy.instance_id, in_flight=1)])
        (held,) = local.ledger
        local.lifecycle.end(held, "drained while busy")

    assert [gone.reason for gone in told.last(InstanceState.GONE)] == ["drained while busy"]
