"""Measured memory and CPU of instances, summed over the processes of each process group."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Mapping

import psutil

from streams.provisioners.core.ledger import HeldInstance
from streams.records.catalog import Resources

__all__ = ["UsageMeter"]

_MIB = 1024 * 1024


class UsageMeter:
    """Measures process groups; CPU use is the mean since the previous reading."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._read_ms = 0

    def read(
        self, groups: Mapping[HeldInstance, int], now_ms: int
    ) -> dict[HeldInstance, Resources]:
        """Measure each instance, given its process group.

        CPU use counts only from the first whole interval after an instance became warm: that of
        its start is high but soon over, and would keep others from starting.
        """
        measured = {}
        members = self._processes_by_group()
        for held, group in groups.items():
            cpu = memory = 0.0
            for process in members.get(group, ()):
                try:
                    cpu += process.cpu_percent() * 10
                    memory += _memory(process, held, groups) / _MIB
                except psutil.NoSuchProcess:
                    continue
            since = held.instance.warm_since_ms
            settled = since is not None and since <= self._read_ms
            measured[held] = Resources(cpu=cpu if settled else 0.0, memory=memory)
        self._read_ms = now_ms
        return measured

    def _processes_by_group(self) -> dict[int, list[psutil.Process]]:
        """Return all processes of the machine by process group; each instance is one group."""
        known, self._processes = self._processes, {}
        groups: dict[int, list[psutil.Process]] = defaultdict(list)
        for pid in psutil.pids():
            try:
                group = os.getpgid(pid)
                process = known.get(pid) or psutil.Process(pid)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
            self._processes[pid] = process
            groups[group].append(process)
        return groups


def _memory(
    process: psutil.Process, held: HeldInstance, running: Mapping[HeldInstance, int]
) -> int:
    """Return resident memory, without the pages of a forked instance that belong to its base.

    Once the base has ended, its pages are divided among the instances that still share them.
    """
    with contextlib.suppress(psutil.AccessDenied):  # it has changed its user
        if held.base is not None:
            full = process.memory_full_info()
            return int(full.uss if held.base in running else full.pss)
    return int(process.memory_info().rss)
