"""What instances really take, by psutil: memory and processor time of each process group."""

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
    """Reads the processes of instances; processor use is the mean since the reading before."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._read_ms = 0

    def read(self, groups: Mapping[HeldInstance, int], now_ms: int) -> None:
        """Set `measured` of each instance by its process group.

        Start-up is real work, but over soon: its processor time is not held against the pool.
        """
        members = self._members()
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
            held.measured = Resources(cpu=cpu if settled else 0.0, memory=memory)
        self._read_ms = now_ms

    def _members(self) -> dict[int, list[psutil.Process]]:
        """Processes by their group; those of our instances are groups of their own."""
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
    """What is resident; of what is shared with a base, which has it all, only what was changed.

    What its base has left behind is divided among those that share it.
    """
    with contextlib.suppress(psutil.AccessDenied):  # it has made itself another user's
        if held.base is not None:
            full = process.memory_full_info()
            return int(full.uss if held.base in running else full.pss)
    return int(process.memory_info().rss)
