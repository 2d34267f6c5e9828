"""Counts the use of instances from what the access log saw served."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from streams.provisioners.core.interface import InstanceUse
from streams.stages.base import MAX_NAME

__all__ = ["UsageCounter"]

_IDLE_AFTER = 4  # reports without a request after which an instance counts as idle
_MAX_INSTANCES = 100_000


class UsageCounter:
    """Use of instances that serve many requests at once, for reports to the provisioner.

    The access log says when a request has ended, not that one is in flight: so an instance counts
    as in use for a moment after each request.
    """

    def __init__(self) -> None:
        self._served: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # count, ms
        self._quiet: dict[str, int] = {}  # instance in use -> reports since its last request

    def add(self, instance_id: str, served_ms: int) -> None:
        """Count a request that was served."""
        if len(instance_id) > MAX_NAME:
            return  # of nobody, and the provisioner would refuse the report as a whole
        if len(self._served) < _MAX_INSTANCES or instance_id in self._served:
            served = self._served[instance_id]
            served[0] += 1
            served[1] += served_ms

    def collect(self) -> list[InstanceUse]:
        """The use since the last call."""
        served = dict(self._served)
        self._served.clear()
        self._quiet = {name: n + 1 for name, n in self._quiet.items()} | dict.fromkeys(served, 0)
        idle = [name for name, n in self._quiet.items() if n >= _IDLE_AFTER]
        for name in idle:
            del self._quiet[name]
        uses = [
            InstanceUse(instance_id=name, in_flight=1, uses=count, busy_ms=ms)
            for name, (count, ms) in served.items()
        ]
        return uses + [InstanceUse(instance_id=name, in_flight=0) for name in idle]

    def restore(self, uses: Iterable[InstanceUse]) -> None:
        """Add a report that did not arrive to the next one."""
        for use in uses:
            if use.in_flight:
                served = self._served[use.instance_id]
                served[0] += use.uses
                served[1] += use.busy_ms
            else:  # idle, unless it is used meanwhile
                self._quiet.setdefault(use.instance_id, _IDLE_AFTER - 1)
