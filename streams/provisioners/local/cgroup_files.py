"""The formats of Linux's cgroup files, versions 2 and 1: parsing and rendering, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from streams.records.catalog import Resources

__all__ = [
    "CONTROLLERS",
    "CgroupLocation",
    "cgroup_location",
    "exceeded",
    "folder_name",
    "limits_of",
]

CONTROLLERS = ("memory", "cpu")
_MIB = 1024 * 1024
_PERIOD_US = 100_000  # the kernel's default period of a CPU quota
_LEAST_US = 1_000  # the kernel's least CPU quota


@dataclass(frozen=True, slots=True)
class CgroupLocation:
    """A cgroup: the version of its hierarchy and its folder."""

    version: int
    folder: Path


def cgroup_location(controller: str, cgroup: str, mountinfo: str) -> CgroupLocation | None:
    """Return the cgroup in which a controller accounts for a process; None if it is not visible.

    Parameters
    ----------
    controller
        Either of `CONTROLLERS`.
    cgroup, mountinfo
        The process's files of these names under `/proc`.
    """
    paths = {names: path for _, names, path in (x.split(":", 2) for x in cgroup.splitlines())}
    for names, path in paths.items():
        if controller in names.split(","):
            return _mounted(1, path, mountinfo, controller)
    return _mounted(2, paths[""], mountinfo) if "" in paths else None


def _mounted(
    version: int, path: str, mountinfo: str, controller: str = ""
) -> CgroupLocation | None:
    """Return the folder of a group; a container may see only its part of the hierarchy."""
    kind = "cgroup2" if version == 2 else "cgroup"
    for line in mountinfo.splitlines():
        fields, _, source = line.partition(" - ")
        root, mount = fields.split()[3:5]
        of_kind, *_, options = source.split()
        if of_kind != kind or (controller and controller not in options.split(",")):
            continue
        if PurePosixPath(path).is_relative_to(root):
            return CgroupLocation(version, Path(mount) / PurePosixPath(path).relative_to(root))
    return None


def limits_of(controller: str, version: int, needs: Resources) -> list[tuple[str, str]]:
    """Return (file, content) pairs that set a limit; empty where the constituent declares none.

    The first is the limit. The others close ways around it and may be absent in this kernel: memory
    over the limit must not be swapped out, and the processes of an instance are killed together.
    """
    if controller == "memory" and needs.memory:
        bound = str(round(needs.memory * _MIB))
        if version == 2:
            return [("memory.max", bound), ("memory.swap.max", "0"), ("memory.oom.group", "1")]
        return [("memory.limit_in_bytes", bound), ("memory.memsw.limit_in_bytes", bound)]
    if controller == "cpu" and needs.cpu:
        quota = str(max(_LEAST_US, round(needs.cpu * _PERIOD_US / 1000)))
        if version == 2:
            return [("cpu.max", f"{quota} {_PERIOD_US}")]
        return [("cpu.cfs_quota_us", quota)]
    return []


def exceeded(events: str) -> bool:
    """Whether a memory limit got a process killed, by `memory.events` or `memory.oom_control`.

    Version 2 distinguishes that from a kill because the machine or a parent group ran out.
    """
    counts = dict(line.split(maxsplit=1) for line in events.splitlines())
    return int(counts.get("oom_kill", 0)) > 0 and int(counts.get("oom", 1)) > 0


def folder_name(instance_id: str) -> str:
    """Return a folder name for an instance; truncation keeps the end, which is unique."""
    return re.sub(r"[^\w.-]", "_", instance_id, flags=re.ASCII)[-200:].lstrip(".")
