"""Limits of instances, by cgroups: one group for each, in which all that it starts is too."""

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
_REMOVE_S = 2.0  # for the kernel to end what it was told to kill
_PAUSE_S = 0.005
_EVENTS = ("memory.events", "memory.oom_control")


class InstanceCgroup:
    """What one instance may take, with all that it starts; without folders it is not limited."""

    def __init__(self, folders: Sequence[Path] = (), needs: Resources | None = None) -> None:
        self._folders = folders
        self._needs = needs or Resources()

    @contextlib.contextmanager
    def doors(self) -> Iterator[Sequence[int]]:
        """Descriptors of files: a process that writes 0 to each is in the group."""
        with contextlib.ExitStack() as opened:
            files = [(one / "cgroup.procs").open("wb", buffering=0) for one in self._folders]
            yield [opened.enter_context(file).fileno() for file in files]

    def explain(self, how: str) -> str:
        """How its instance ended, and whether that was for want of memory."""
        for path in (folder / name for folder in self._folders for name in _EVENTS):
            if self._needs.memory and path.exists() and exceeded(path.read_text()):
                return f"took more than its limit of {self._needs.memory:g} MiB of memory: {how}"
        return how

    async def remove(self) -> None:
        """Kill what is left in it, and remove it."""
        deadline = time.monotonic() + _REMOVE_S
        left = self._folders
        while left := [folder for folder in left if not cleared(folder)]:
            if time.monotonic() > deadline:
                logger.warning("%s cannot be removed", left, extra={"action": "cgroup"})
                return
            await asyncio.sleep(_PAUSE_S)


UNLIMITED = InstanceCgroup()


class _CgroupSubtree:
    """The provisioner's part of one hierarchy: a folder, locked while the provisioner lives."""

    def __init__(self, place: CgroupLocation, controllers: Sequence[str]) -> None:
        self._place = place
        self._controllers = controllers
        for left in place.folder.glob(f"{_PREFIX}*"):
            _sweep(left)
        self.folder, self._lock = _locked(place.folder)

    def open(self) -> Self:
        """Have the controllers count what is in folders below it.

        Raises
        ------
        OSError
            The kernel does not allow it.
        """
        if self._place.version == 2:
            above = self._place.folder
            if (above / "cgroup.type").exists():  # not the root: it has processes, or is divided
                (self.folder / OWN).mkdir()
                (self.folder / OWN / "cgroup.procs").write_text("0")
                if (above / "cgroup.procs").read_text():
                    raise OSError(errno.EBUSY, "other processes are in it")
            _count(above, self._controllers)
            _count(self.folder, self._controllers)
        return self

    def group(self, name: str, needs: Resources) -> Path:
        """A group with its limits."""
        folder = self.folder / name
        folder.mkdir()
        for controller in self._controllers:
            for number, (file, text) in enumerate(
                limits_of(controller, self._place.version, needs)
            ):
                if number == 0 or (folder / file).exists():
                    (folder / file).write_text(text)
        return folder

    def close(self) -> None:
        """Leave the group as it was."""
        dismantle(self.folder)
        os.close(self._lock)


class CgroupLimiter:
    """The groups of a provisioner's instances; without trees they have no limits."""

    def __init__(self, trees: Sequence[_CgroupSubtree] = ()) -> None:
        self._trees = trees
        self.folders = [tree.folder for tree in trees]

    @classmethod
    def open(cls, controllers: Collection[str], *, required: bool = True) -> Self:
        """Divide the group that this process is in, having removed what a killed one has left.

        Parameters
        ----------
        controllers
            What instances are held to: memory, cpu, both, or neither.
        required
            Whether it is an error that cgroups do not allow it; else there are no limits then.

        Raises
        ------
        LimitsUnavailable
            They do not, and it is.
        """
        try:
            return cls(_divided(controllers))
        except LimitsUnavailable as error:
            if required:
                raise
            logger.warning("%s", error, extra={"action": "no_limits"})
            return cls()

    def group(self, instance_id: str, needs: Resources) -> InstanceCgroup:
        """The group of a new instance.

        Raises
        ------
        OSError
            The kernel does not allow its limits.
        """
        name = folder_name(instance_id)
        try:
            return InstanceCgroup([tree.group(name, needs) for tree in self._trees], needs)
        except OSError:
            for folder in self.folders:
                cleared(folder / name)
            raise

    def close(self) -> None:
        """Remove all that was made."""
        for tree in self._trees:
            tree.close()


def _divided(controllers: Collection[str]) -> list[_CgroupSubtree]:
    trees: list[_CgroupSubtree] = []
    try:
        for place, theirs in _places(controllers).items():
            trees.append(_tree(place, theirs))
    except LimitsUnavailable:
        for tree in trees:
            tree.close()
        raise
    return trees


def _places(controllers: Collection[str]) -> Mapping[CgroupLocation, Sequence[str]]:
    """The groups of this process, and which controllers count it there."""
    files = [Path("/proc/self", name) for name in ("cgroup", "mountinfo")]
    found: dict[CgroupLocation, list[str]] = {}
    for controller in controllers:
        try:
            place = cgroup_location(controller, *(path.read_text() for path in files))
        except OSError:  # another system than Linux
            place = None
        if place is None:
            raise LimitsUnavailable.because(f"no cgroups are mounted that count {controller}")
        found.setdefault(place, []).append(controller)
    return found


def _tree(place: CgroupLocation, controllers: Sequence[str]) -> _CgroupSubtree:
    tree = None
    try:
        if place.version == 2:
            given = (place.folder / "cgroup.controllers").read_text().split()
            if missing := " and ".join(one for one in controllers if one not in given):
                raise LimitsUnavailable.because(f"{place.folder} is given no {missing} controller")
        tree = _CgroupSubtree(place, controllers)
        return tree.open()
    except OSError as error:
        if tree is not None:
            tree.close()
        why = f"{place.folder}, of version {place.version}, cannot be divided ({error.strerror})"
        raise LimitsUnavailable.because(why) from error


def _locked(above: Path) -> tuple[Path, int]:
    """A new folder, and the lock on it; another provisioner may take it for left in between."""
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


def _sweep(folder: Path) -> None:
    """Remove what a provisioner has left that was killed; one that lives holds its lock."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        lock = _lock(folder)
        dismantle(folder)
        os.close(lock)


def _count(folder: Path, controllers: Sequence[str]) -> None:
    """Have controllers count each group below one apart."""
    text = " ".join(f"+{one}" for one in controllers)
    (folder / "cgroup.subtree_control").write_text(text)
