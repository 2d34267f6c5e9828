"""What is read from and written to the files of Linux's cgroups, versions 2 and 1: no I/O here."""

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
_PERIOD_US = 100_000  # in which a quota of processor time is counted; the kernel's default
_LEAST_US = 1_000  # the kernel takes no quota below it


@dataclass(frozen=True, slots=True)
class CgroupLocation:
    """A group in a hierarchy of cgroups."""

    version: int
    folder: Path


def cgroup_location(controller: str, cgroup: str, mountinfo: str) -> CgroupLocation | None:
    """The group in which a controller counts a process; None where that is not to be seen.

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
    """Where a group's folder is; a container may see its part of the hierarchy alone."""
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
    """What is written to which files of a group; what a constituent does not declare is not bound.

    The first is the limit. The others hold it against ways around it, where the kernel has them:
    what does not fit must not be swapped out, and an instance ends as a whole.
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
    """Whether a limit of memory had something killed: of `memory.events`, `memory.oom_control`.

    Version 2 tells that from a kill because the machine, or a group above, was short of memory.
    """
    counts = dict(line.split(maxsplit=1) for line in events.splitlines())
    return int(counts.get("oom_kill", 0)) > 0 and int(counts.get("oom", 1)) > 0


def folder_name(instance_id: str) -> str:
    """An instance's name as that of a folder; its end tells it from all others."""
    return re.sub(r"[^\w.-]", "_", instance_id, flags=re.ASCII)[-200:].lstrip(".")
