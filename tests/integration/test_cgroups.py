"""Instances held to what the catalogue declares; where cgroups do not allow it, that it is said."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from harness import CHECKOUT, Eventually
from provisioner_rigs import ANY, Told, until, want
from services import ONE, SERVICE, catalog_of, constituent

from streams.provisioners.core.interface import ProvisionerLimits, StandardPathRefused
from streams.provisioners.local.cgroup_files import CgroupLocation, cgroup_location
from streams.provisioners.local.cgroups import CgroupLimiter
from streams.provisioners.local.provisioner import LocalProvisioner
from streams.records import Instance, InstanceState
from streams.records.catalog import Catalog, Constituent, Resources

QUICK = ProvisionerLimits(grace_ms=20, stop_ms=2_000, start_ms=60_000)
BOTH = ("memory", "cpu")
ENDED = "took more than its limit of 48 MiB of memory"


def place(controller: str) -> CgroupLocation | None:
    return cgroup_location(
        controller, *(Path("/proc/self", x).read_text() for x in ("cgroup", "mountinfo"))
    )


@pytest.fixture
def allowed() -> bool:
    """Whether the machine's cgroups allow limits to this process, seen without the code at test."""
    for controller in BOTH:
        at = place(controller)
        if at is None or not os.access(at.folder, os.W_OK):
            return False
        if at.version == 2:
            given = (at.folder / "cgroup.controllers").read_text().split()
            inside = (at.folder / "cgroup.procs").read_text().split()
            alone = not (at.folder / "cgroup.type").exists() or inside == [str(os.getpid())]
            if controller not in given or not alone:
                return False
    return True


def groups(folders: Sequence[Path]) -> set[Path]:
    """Whatever provisioners have made there, or left."""
    return {one for folder in folders for one in folder.glob("foremesh-*")}


@asynccontextmanager
async def limited(
    allowed: bool, catalog: Catalog, *controllers: str
) -> AsyncIterator[tuple[LocalProvisioner, Told]]:
    told = Told()
    cgroups = partial(CgroupLimiter.open, controllers or BOTH, required=allowed)
    made = LocalProvisioner(
        "default", lambda: catalog, told.records.append, QUICK, cgroups, commands=ANY
    )
    await made.open()
    try:
        yield made, told
    finally:
        await made.close()


def needing(one: Constituent, *, memory: float = 48, cpu: float = 1_000) -> Constituent:
    return replace(one, needs=replace(ONE, memory=memory, cpu=cpu))


def roomy(*constituents: Constituent) -> Catalog:
    return catalog_of(*constituents, room=30)


def pid_of(local: LocalProvisioner, instance: Instance) -> int:
    return next(c.pid for h, c in local.lifecycle.children.items() if h.instance == instance)


async def ended(allowed: bool, local: LocalProvisioner, told: Told, service: str) -> str | None:
    """Why it ended when it was started; None, since it serves, where nothing limits it."""
    if not allowed:
        await local.standard(want(service, in_ms=60_000))
        return None
    with pytest.raises(StandardPathRefused, match=ENDED):
        await local.standard(want(service, in_ms=60_000))
    await until(lambda: told.last(InstanceState.GONE))
    return told.last(InstanceState.GONE)[0].reason


async def test_an_instance_that_takes_more_than_its_memory_is_ended_and_says_so(
    allowed: bool,
) -> None:
    greedy = needing(constituent("greedy", "--mib", "96"))
    async with limited(allowed, roomy(greedy)) as (local, told):
        reason = await ended(allowed, local, told, "greedy")

        assert not allowed or reason == f"crashed: {ENDED}: was killed by signal 9"


async def test_so_is_one_whose_descendant_takes_it_in_a_session_of_its_own(allowed: bool) -> None:
    greedy = needing(constituent("greedy", "--mib-below", "96"))
    async with limited(allowed, roomy(greedy)) as (local, told):
        reason = await ended(allowed, local, told, "greedy")

        assert not allowed or str(reason).startswith(f"crashed: {ENDED}: ")


async def test_an_instance_within_its_memory_serves(allowed: bool) -> None:
    modest = needing(constituent("modest", "--mib", "16"))
    async with limited(allowed, roomy(modest)) as (local, _):
        assert (await local.standard(want("modest", in_ms=60_000))).state is InstanceState.WARM


async def test_an_instance_is_slowed_down_to_its_cpu(allowed: bool) -> None:
    slow = needing(constituent("slow", "--work-at-start", "4000000"), cpu=200)
    async with limited(allowed, roomy(slow), "cpu") as (local, _):
        instance = await local.standard(want("slow", in_ms=60_000))
        times = psutil.Process(pid_of(local, instance)).cpu_times()
        assert instance.warm_since_ms is not None
        took_s = (instance.warm_since_ms - instance.started_ms) / 1000

        assert not allowed or (times.user + times.system) / took_s < 0.3


class TestForked:
    """Instances that share the memory of their base."""

    @pytest.fixture(autouse=True)
    def _module_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", str(CHECKOUT / "tests" / "layered"))

    @staticmethod
    def catalog(*arguments: str) -> Catalog:
        base = replace(
            needing(constituent("base"), memory=16, cpu=10),  # it is not limited
            command=("{python}", "{zygote}", "--import", "asyncio,weights"),
        )
        command = ("{python}", "-S", "-I", SERVICE, *arguments)
        forked = replace(needing(constituent("forked")), base="base", command=command)
        return roomy(base, forked)

    async def test_what_an_instance_shares_with_its_base_is_the_bases(self, allowed: bool) -> None:
        async with limited(allowed, self.catalog()) as (local, _):  # the base has 64 MiB of weights
            instance = await local.standard(want("forked", in_ms=60_000))
            resident = psutil.Process(pid_of(local, instance)).memory_info().rss

            assert resident > 48 * 1024 * 1024

    async def test_what_it_takes_beyond_is_limited_and_its_base_lives_on(
        self, allowed: bool
    ) -> None:
        async with limited(allowed, self.catalog("--mib", "96")) as (local, told):
            reason = await ended(allowed, local, told, "forked")

            assert not allowed or reason == f"crashed: {ENDED}: was killed by signal 9"
            assert told.last(InstanceState.WARM)[0].service == "base"

    async def test_so_is_what_it_starts(self, allowed: bool) -> None:
        async with limited(allowed, self.catalog("--mib-below", "96")) as (local, told):
            reason = await ended(allowed, local, told, "forked")

            assert not allowed or str(reason).startswith(f"crashed: {ENDED}: ")


async def test_its_group_ends_with_an_instance_and_all_with_the_provisioner(allowed: bool) -> None:
    folders = [at.folder for at in map(place, BOTH) if at]  # of this process, as yet
    before = groups(folders)
    async with limited(allowed, roomy(needing(constituent("a")))) as (local, told):
        instance = await local.standard(want("a", in_ms=60_000))
        made = [own / instance.instance_id for own in groups(folders) - before]
        assert bool(made) == allowed
        assert all(group.exists() for group in made)
        os.kill(pid_of(local, instance), signal.SIGKILL)
        await until(lambda: told.last(InstanceState.GONE))

        assert not any(group.exists() for group in made)
    assert groups(folders) == before


class Alone(NamedTuple):
    """A process alone in its groups."""

    process: subprocess.Popen[str]
    groups: Sequence[Path]


@contextmanager
def alone(allowed: bool, program: str, *before: str) -> Iterator[Alone]:
    """Run a program of Python so."""
    above = CgroupLimiter.open(BOTH, required=allowed)
    try:
        with above.group("alone", Resources()).open_procs() as files:
            process = subprocess.Popen(
                [*before, sys.executable, "-c", program],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                text=True,
                preexec_fn=partial(enter, files),  # noqa: PLW1509  # it only writes
            )
        with process:
            yield Alone(process, [folder / "alone" for folder in above.folders])
            process.kill()
    finally:
        above.close()


def enter(files: Sequence[int]) -> None:
    for procs in files:
        os.write(procs, b"0")


# Waits for a line, opens the groups, says so, waits for another.
OPENING = """
from streams.provisioners.local.cgroups import CgroupLimiter
input()
cgroups = CgroupLimiter.open({}, required={})
print("open" if cgroups.folders else "without", flush=True)
input()
"""

SERVING = """
import asyncio, dataclasses, functools
from provisioner_rigs import ANY
from services import catalog_of, command, constituent
from streams.records.catalog import Resources
from streams.provisioners.local.cgroups import CgroupLimiter
from streams.provisioners.local.provisioner import LocalProvisioner

async def main():
    cgroups = functools.partial(CgroupLimiter.open, {}, required={})
    needs = Resources(memory=64, cpu=1_000)
    catalog = catalog_of(dataclasses.replace(constituent("a", "--child"), needs=needs), room=30)
    local = LocalProvisioner("default", lambda: catalog, lambda _: None, None, cgroups, commands=ANY)
    await local.open()
    await local.carry_out(command("a", count=2))
    while sum(held.live for held in local.ledger) < 2:
        await asyncio.sleep(0.01)
    print(*(child.pid for child in local.lifecycle.children.values()), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def left_in(groups: Sequence[Path]) -> tuple[list[Path], subprocess.Popen[bytes]]:
    """What a provisioner that was killed has left, with an instance that got away."""
    left = [group / "foremesh-left" for group in groups]
    for folder in left:
        (folder / "a").mkdir(parents=True)
    with ExitStack() as stack:
        files = [stack.enter_context((x / "a" / "cgroup.procs").open("wb", 0)) for x in left]
        procs = [file.fileno() for file in files]
        enters = partial(enter, procs)
        return left, subprocess.Popen(["sleep", "60"], preexec_fn=enters)  # noqa: PLW1509  # same


def opened(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_what_a_killed_provisioner_has_left_ends_at_the_next_start(allowed: bool) -> None:
    with alone(allowed, OPENING.format(BOTH, allowed)) as (process, its):
        left, sleeping = left_in(its)
        with sleeping:
            assert opened(process) == ("open" if allowed else "without")
            if not allowed:
                sleeping.kill()

            assert sleeping.wait(timeout=5) == -signal.SIGKILL
            assert not any(folder.exists() for folder in left)


def test_what_a_provisioner_that_lives_has_is_left_alone(allowed: bool) -> None:
    with alone(allowed, OPENING.format(BOTH, allowed)) as (process, its), ExitStack() as stack:
        left, sleeping = left_in(its)
        stack.enter_context(sleeping)
        stack.callback(sleeping.kill)
        for folder in left:
            lock = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        opened(process)

        assert sleeping.poll() is None
        assert all((folder / "a").exists() for folder in left)


def test_a_provisioner_that_is_killed_leaves_nothing_when_its_watchdog_lives(
    allowed: bool, eventually: Eventually
) -> None:
    with alone(allowed, SERVING.format(BOTH, allowed)) as held:
        assert held.process.stdout is not None
        pids = [int(pid) for pid in held.process.stdout.readline().split()]
        assert len(pids) == 2
        assert bool(groups(held.groups)) == allowed
        held.process.kill()

        eventually(lambda: not groups(held.groups))
        eventually(lambda: not any(map(runs, pids)))
        eventually(lambda: all(map(empty, held.groups)))  # and may be entered again


def empty(group: Path) -> bool:
    files = (group / name for name in ("cgroup.procs", "cgroup.subtree_control"))
    return not any(file.read_text().strip() for file in files if file.exists())


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def shut(allowed: bool) -> Sequence[str]:
    """A command before another that takes from it what this process may do, as a container does."""
    if not allowed:
        return ()
    mounts = {str(mount_of(controller)) for controller in BOTH}
    root = () if os.geteuid() == 0 else ("--map-root-user",)
    remount = f'for at in {" ".join(mounts)}; do mount -o remount,bind,ro $at; done; exec "$0" "$@"'
    return ("unshare", "--mount", *root, "sh", "-c", remount)


def mount_of(controller: str) -> Path:
    at = place(controller)
    assert at is not None
    return next(one for one in (at.folder, *at.folder.parents) if one.is_mount())


def test_where_cgroups_do_not_allow_it_it_says_so_in_one_sentence_with_the_fix(
    allowed: bool,
) -> None:
    with alone(allowed, OPENING.format(BOTH, True), *shut(allowed)) as (process, _):
        _, said = process.communicate("\n", timeout=30)

    sentence = said.splitlines()[-1].removeprefix("streams.errors.LimitsUnavailable: ")
    assert sentence.startswith("Instances cannot be limited, since ")
    assert sentence.endswith(": use `systemd-run --scope -p Delegate=yes`; as root in version 1.")


def test_it_goes_on_without_where_it_may(allowed: bool) -> None:
    with alone(allowed, OPENING.format(BOTH, False), *shut(allowed)) as (process, _):
        out, said = process.communicate("\n\n", timeout=30)

    assert out == "without\n"
    assert said.startswith("Instances cannot be limited, since ")
