"""Memory and CPU limits of instances: one cgroup each, which its child processes inherit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from streams.errors import LimitsUnavailable
from streams.provisioners.local.cgroup_files import (
    CgroupLocation,
    cgroup_location,
    exceeded,
    folder_name,
    limits_of,
)
from streams.provisioners.local.watchdog import OWN, cleared, dismantle
from streams.records.catalog import Resources

__all__ = ["UNLIMITED", "CgroupLimiter", "InstanceCgroup"]

logger = logging.getLogger(__name__)

_PREFIX = "foremesh-"
_REMOVE_S = 2.0  # for the kernel to end killed processes
_PAUSE_S = 0.005
_EVENTS = ("memory.events", "memory.oom_control")


class InstanceCgroup:
    """The cgroup of one instance and its child processes; without folders it is not limited."""

    def __init__(self, folders: Sequence[Path] = (), needs: Resources | None = None) -> None:
        self._folders = folders
        self._needs = needs or Resources()

    @contextlib.contextmanager
    def open_procs(self) -> Iterator[Sequence[int]]:
        """Open its `cgroup.procs` files; a process that writes 0 to each descriptor joins the group."""
        with contextlib.ExitStack() as opened:
            files = [(one / "cgroup.procs").open("wb", buffering=0) for one in self._folders]
            yield [opened.enter_context(file).fileno() for file in files]

    def explain_end(self, how: str) -> str:
        """Return how its instance ended, preceded by the memory limit if that was the cause."""
        for path in (folder / name for folder in self._folders for name in _EVENTS):
            if self._needs.memory and path.exists() and exceeded(path.read_text()):
                return f"took more than its limit of {self._needs.memory:g} MiB of memory: {how}"
        return how

    async def remove(self) -> None:
        """Kill the processes left in it, then remove it."""
        deadline = time.monotonic() + _REMOVE_S
        left = self._folders
        while left := [folder for folder in left if not cleared(folder)]:
            if time.monotonic() > deadline:
                names = ", ".join(map(str, left))
                logger.warning("Cannot remove cgroups: %s", names, extra={"action": "cgroup"})
                return
            await asyncio.sleep(_PAUSE_S)


UNLIMITED = InstanceCgroup()


class _CgroupSubtree:
    """The provisioner's folder in one hierarchy, locked while the provisioner lives."""

    def __init__(self, location: CgroupLocation, controllers: Sequence[str]) -> None:
        self._location = location
        self._controllers = controllers
        for left in location.folder.glob(f"{_PREFIX}*"):
            _remove_abandoned(left)
        self.folder, self._lock = _locked(location.folder)

    def open(self) -> Self:
        """Enable the controllers for the groups of instances below it.

        Raises
        ------
        OSError
            The kernel does not allow it.
        """
        if self._location.version == 2:
            above = self._location.folder
            if (above / "cgroup.type").exists():
                # Not the root, so it may have processes or enabled controllers, but not both.
                (self.folder / OWN).mkdir()
                (self.folder / OWN / "cgroup.procs").write_text("0")
                if (above / "cgroup.procs").read_text():
                    raise OSError(errno.EBUSY, "other processes are in it")
            _enable(above, self._controllers)
            _enable(self.folder, self._controllers)
        return self

    def group(self, name: str, needs: Resources) -> Path:
        """Make a group and set its limits."""
        folder = self.folder / name
        folder.mkdir()
        for controller in self._controllers:
            for number, (file, text) in enumerate(
                limits_of(controller, self._location.version, needs)
            ):
                if number == 0 or (folder / file).exists():
                    (folder / file).write_text(text)
        return folder

    def close(self) -> None:
        """Remove the folder and undo what `open` changed."""
        dismantle(self.folder)
        os.close(self._lock)


class CgroupLimiter:
    """Makes the cgroups of a provisioner's instances; without subtrees they have no limits."""

    def __init__(self, subtrees: Sequence[_CgroupSubtree] = ()) -> None:
        self._subtrees = subtrees
        self.folders = [tree.folder for tree in subtrees]

    @classmethod
    def open(cls, controllers: Collection[str], *, required: bool = True) -> Self:
        """Make subtrees below the group of this process; remove those that killed provisioners left.

        Parameters
        ----------
        controllers
            What is limited: memory, cpu, both, or neither.
        required
            Whether it is an error if cgroups do not allow it; otherwise a warning is logged and
            nothing is limited.

        Raises
        ------
        LimitsUnavailable
            Cgroups do not allow it, and limits are required.
        """
        try:
            return cls(_subtrees(controllers))
        except LimitsUnavailable as error:
            if required:
                raise
            logger.warning("%s", error, extra={"action": "no_limits"})
            return cls()

    def group(self, instance_id: str, needs: Resources) -> InstanceCgroup:
        """Make the group of a new instance.

        Raises
        ------
        OSError
            The kernel refuses its limits.
        """
        name = folder_name(instance_id)
        try:
            return InstanceCgroup([tree.group(name, needs) for tree in self._subtrees], needs)
        except OSError:
            for folder in self.folders:
                cleared(folder / name)
            raise

    def close(self) -> None:
        """Remove all groups."""
        for tree in self._subtrees:
            tree.close()


def _subtrees(controllers: Collection[str]) -> list[_CgroupSubtree]:
    trees: list[_CgroupSubtree] = []
    try:
        for location, theirs in _locations(controllers).items():
            trees.append(_subtree(location, theirs))
    except LimitsUnavailable:
        for tree in trees:
            tree.close()
        raise
    return trees


def _locations(controllers: Collection[str]) -> Mapping[CgroupLocation, Sequence[str]]:
    """Return the groups of this process, each with the controllers that account for it there."""
    files = [Path("/proc/self", name) for name in ("cgroup", "mountinfo")]
    locations: dict[CgroupLocation, list[str]] = {}
    for controller in controllers:
        try:
            location = cgroup_location(controller, *(path.read_text() for path in files))
        except OSError:  # not Linux
            location = None
        if location is None:
            raise LimitsUnavailable.because(
                f"no mounted cgroup hierarchy has the {controller} controller"
            )
        locations.setdefault(location, []).append(controller)
    return locations


def _subtree(location: CgroupLocation, controllers: Sequence[str]) -> _CgroupSubtree:
    tree = None
    try:
        if location.version == 2:
            given = (location.folder / "cgroup.controllers").read_text().split()
            if missing := " and ".join(one for one in controllers if one not in given):
                raise LimitsUnavailable.because(f"{location.folder} has no {missing} controller")
        tree = _CgroupSubtree(location, controllers)
        return tree.open()
    except OSError as error:
        if tree is not None:
            tree.close()
        why = (
            f"no groups can be made in {location.folder}, cgroup version {location.version}"
            f" ({error.strerror})"
        )
        raise LimitsUnavailable.because(why) from error


def _locked(above: Path) -> tuple[Path, int]:
    """Make a folder and lock it; until locked, another provisioner may remove it as abandoned."""
    while True:
        folder = above / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = _lock(folder)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _lock(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove_abandoned(folder: Path) -> None:
    """Remove the folder of a killed provisioner; a live one holds the lock on its folder."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        lock = _lock(folder)
        dismantle(folder)
        os.close(lock)


def _enable(folder: Path, controllers: Sequence[str]) -> None:
    """Enable controllers for the groups below a folder."""
    text = " ".join(f"+{one}" for one in controllers)
    (folder / "cgroup.subtree_control").write_text(text)
