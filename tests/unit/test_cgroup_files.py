from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.provisioners.local.cgroup_files import (
    CgroupLocation,
    cgroup_location,
    exceeded,
    folder_name,
    limits_of,
)
from streams.records.catalog import Resources

UNIFIED = "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
DIVIDED = """\
23 1 0:20 / / rw,relatime - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
"""
SERVICE = "/system.slice/foremesh.service"
NEEDS = Resources(cpu=250, memory=64, bandwidth=5)


def test_one_hierarchy_counts_everything() -> None:
    for controller in ("memory", "cpu"):
        place = cgroup_location(controller, f"0::{SERVICE}\n", UNIFIED)

        assert place == CgroupLocation(2, Path("/sys/fs/cgroup/system.slice/foremesh.service"))


def test_a_controller_of_version_1_has_a_hierarchy_of_its_own() -> None:
    said = f"5:memory:{SERVICE}\n2:cpu,cpuacct:/\n1:name=systemd:/x\n0::{SERVICE}\n"

    assert cgroup_location("memory", said, DIVIDED) == CgroupLocation(
        1, Path(f"/sys/fs/cgroup/memory{SERVICE}")
    )
    assert cgroup_location("cpu", said, DIVIDED) == CgroupLocation(
        1, Path("/sys/fs/cgroup/cpu,cpuacct")
    )


def test_a_container_sees_its_own_part_of_a_hierarchy() -> None:
    mount = "9 8 0:32 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"

    assert cgroup_location("memory", "5:memory:/docker/c1/job\n", mount) == CgroupLocation(
        1, Path("/sys/fs/cgroup/memory/job")
    )


@pytest.mark.parametrize(
    ("cgroup", "mountinfo"),
    [("0::/x\n", DIVIDED.splitlines()[0]), ("", UNIFIED), ("5:memory:/x\n", UNIFIED)],
    ids=["not mounted", "no cgroups", "of version 1, not mounted"],
)
def test_what_is_not_mounted_is_no_place(cgroup: str, mountinfo: str) -> None:
    assert cgroup_location("memory", cgroup, mountinfo) is None


def test_memory_is_bound_in_bytes_without_a_way_out_by_swap() -> None:
    bound = str(64 * 1024 * 1024)

    assert limits_of("memory", 2, NEEDS) == [
        ("memory.max", bound),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
    ]
    assert limits_of("memory", 1, NEEDS) == [
        ("memory.limit_in_bytes", bound),
        ("memory.memsw.limit_in_bytes", bound),
    ]


def test_cpu_is_a_quota_of_each_tenth_of_a_second() -> None:
    assert limits_of("cpu", 2, NEEDS) == [("cpu.max", "25000 100000")]
    assert limits_of("cpu", 1, NEEDS) == [("cpu.cfs_quota_us", "25000")]


def test_a_quota_is_never_less_than_the_kernel_takes() -> None:
    assert limits_of("cpu", 2, Resources(cpu=1)) == [("cpu.max", "1000 100000")]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("controller", ["memory", "cpu"])
def test_what_is_not_declared_is_not_bound(controller: str, version: int) -> None:
    assert limits_of(controller, version, Resources()) == []


@pytest.mark.parametrize(
    ("events", "so"),
    [
        ("max 19\noom 2\noom_kill 3\noom_group_kill 1\n", True),
        ("max 19\noom 2\noom_kill 0\n", False),
        ("max 0\noom 0\noom_kill 1\n", False),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False),
        ("oom_kill_disable 0\nunder_oom 0\n", False),
    ],
    ids=["of 2", "got by", "the machine was short", "of 1", "of 1, none", "before Linux 4.13"],
)
def test_a_kill_is_for_a_limit_or_not(events: str, so: bool) -> None:
    assert exceeded(events) is so


@given(st.text(min_size=1, max_size=300))
def test_every_instance_has_a_folder_of_its_own(service: str) -> None:
    one, other = (folder_name(f"{service}-{suffix}") for suffix in ("0a1b", "0a1c"))

    assert one != other
    assert Path("/above", one).parent == Path("/above")
    assert len(one.encode()) < 255
    assert one.isprintable()
